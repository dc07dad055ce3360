//! Handles and the arguments that cross the C interface.
//!
//! Handles are numbers that are never given out twice, so that a use of a
//! destroyed object is found. [`Out`], [`In`] and [`Text`] stand for the
//! pointers of C signatures; their only contract is the C one: whoever calls a
//! driver function passes null or a pointer to what `cuda.h` says.

use std::ffi::{CStr, c_char};

/// A result code other than zero.
pub(crate) type Code = u32;
pub(crate) type Result<T = (), E = Code> = std::result::Result<T, E>;

pub(crate) const INVALID_VALUE: Code = 1;
pub(crate) const OUT_OF_MEMORY: Code = 2;
pub(crate) const NOT_INITIALIZED: Code = 3;
pub(crate) const INVALID_DEVICE: Code = 101;
pub(crate) const INVALID_IMAGE: Code = 200;
pub(crate) const INVALID_CONTEXT: Code = 201;
pub(crate) const PEER_ALREADY_ENABLED: Code = 704;
pub(crate) const PEER_NOT_ENABLED: Code = 705;
pub(crate) const INVALID_PTX: Code = 218;
pub(crate) const INVALID_HANDLE: Code = 400;
pub(crate) const NOT_FOUND: Code = 500;
pub(crate) const NOT_READY: Code = 600;
pub(crate) const NOT_SUPPORTED: Code = 801;
pub(crate) const CAPTURE_UNSUPPORTED: Code = 900;
pub(crate) const CAPTURE_INVALIDATED: Code = 901;
pub(crate) const CAPTURE_MERGE: Code = 902;
pub(crate) const CAPTURE_UNMATCHED: Code = 903;
pub(crate) const CAPTURE_UNJOINED: Code = 904;
pub(crate) const CAPTURE_ISOLATION: Code = 905;
pub(crate) const CAPTURED_EVENT: Code = 907;
pub(crate) const CAPTURE_WRONG_THREAD: Code = 908;
pub(crate) const GRAPH_UPDATE_FAILURE: Code = 910;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Context = 1,
    Stream,
    Event,
    Module,
    Function,
    Link,
    Pool,
    Graph,
    Node,
    Exec,
    Physical,
}

/// A driver object, as an opaque word of the C interface.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(pub(crate) u64);

impl Handle {
    pub(crate) const NULL: Self = Self(0);

    pub(crate) fn new(kind: Kind, number: u64) -> Self {
        Self((kind as u64) << 40 | number << 4)
    }

    pub(crate) fn is_null(self) -> bool {
        self == Self::NULL
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.0 >> 40 {
            1 => "context",
            2 => "stream",
            3 => "event",
            4 => "module",
            5 => "function",
            6 => "link",
            7 => "pool",
            8 => "graph",
            9 => "node",
            10 => "exec",
            11 => "memory handle",
            _ => "handle",
        };
        write!(f, "{kind} {}", (self.0 & ((1 << 40) - 1)) >> 4)
    }
}

/// A pointer that a driver function writes through.
#[repr(transparent)]
pub(crate) struct Out<T>(pub(crate) *mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    pub(crate) fn set(self, value: T) -> Result {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the contract of the C interface (see the module).
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Writes unless the caller does not want the value.
    pub(crate) fn set_if(self, value: T) {
        let _ = self.set(value);
    }
}

/// A pointer to `T`s that a driver function reads.
#[repr(transparent)]
pub(crate) struct In<T>(pub(crate) *const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    pub(crate) fn get(self) -> Result<T> {
        self.at(0)
    }

    pub(crate) fn at(self, index: usize) -> Result<T> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the contract of the C interface; callers ask only for elements
        // that `cuda.h` says are there.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }

    pub(crate) fn list(self, len: usize) -> Result<Vec<T>> {
        (0..len).map(|index| self.at(index)).collect()
    }
}

/// A C string.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

impl Text {
    pub(crate) fn get(self) -> Result<String> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the contract of the C interface: a string with a final zero.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }
}

/// Copies `text` with a final zero into `len` bytes at `target`, cut if longer.
pub(crate) fn write_text(target: Out<u8>, len: usize, text: &str) -> Result {
    if target.0.is_null() || len == 0 {
        return Err(INVALID_VALUE);
    }
    let bytes = &text.as_bytes()[..text.len().min(len - 1)];
    // SAFETY: the caller of the C function gave room for `len` bytes.
    unsafe { target.0.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    // SAFETY: as above; there is room for the zero.
    unsafe { target.0.add(bytes.len()).write(0) };
    Ok(())
}
