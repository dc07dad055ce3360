//! What the pickle machine makes: plain data in an arena.
//!
//! Values refer to each other by number, as Python's objects do by reference, so
//! that sharing costs nothing and cycles harm nobody.

use raddle_tensor::DType;

/// A value's number in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits; nothing in a state dict needs its value.
    LargeInt,
    Float(f64),
    Text(String),
    /// Bytes; nothing in a state dict needs them.
    Bytes,
    Tuple(Vec<ValueId>),
    List(Vec<ValueId>),
    Set(Vec<ValueId>),
    /// Keys and values in their order.
    Dict(Vec<(ValueId, ValueId)>),
    /// A name of the table of permitted ones.
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<View>),
}

/// The Python names that a state dict needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict` and `dict`.
    Dict,
    /// `builtins.set` and `frozenset`.
    Set,
    /// `torch.Size`.
    Size,
    /// `torch._utils._rebuild_tensor`: storage, offset, size, stride.
    Tensor,
    /// `torch._utils._rebuild_tensor_v2`: the same, and what gradients need.
    TensorV2,
    /// `torch._utils._rebuild_tensor_v3`: the same, and the type.
    TensorV3,
    /// `torch._utils._rebuild_parameter` and `_rebuild_parameter_with_state`.
    Parameter,
    /// A storage of elements of one type, `torch.FloatStorage`; `None` for
    /// `UntypedStorage`, whose elements are bytes.
    StorageType(Option<DType>),
    /// `torch.float32` and the like.
    DType(DType),
    /// `torch.device`.
    Device,
}

/// A storage: elements somewhere else in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Its name in the file.
    pub key: String,
    /// Type of the elements; `None` for bytes.
    pub dtype: Option<DType>,
    /// Number of elements.
    pub len: u64,
    /// Elements before this view of it, for old files in which storages share.
    pub view_offset: u64,
}

/// A tensor as elements of a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub storage: ValueId,
    /// Type of the elements, where the tensor says it and not the storage.
    pub dtype: Option<DType>,
    /// First element.
    pub offset: u64,
    pub shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub strides: Vec<u64>,
}
