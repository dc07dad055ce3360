//! Kernels that were not made by Raddle: PTX, cubins, and CUDA C++ text where
//! NVRTC is installed.
//!
//! ```ignore
//! let module = ForeignModule::from_cuda(&device, SOURCE, &[], &["saxpy"])?;
//! let saxpy = module.function::<(f32, *const f32, *mut f32, u32)>("saxpy")?;
//! // SAFETY: `saxpy` reads `x` and writes `y` below `n`.
//! stream.launch(Grid::cover(n, 256), unsafe { saxpy.call((2.0, &x, &mut y, n as u32)) })?;
//! ```
//!
//! Parameters are declared by the type of the function and checked against the
//! image where the driver tells them (CUDA 12.4 and later). Arguments are bound
//! as for any kernel, so that work on several streams is ordered for foreign
//! kernels too. What a foreign kernel does with its pointers nobody can check:
//! calling one is `unsafe`.

use std::collections::HashMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use raddle_cuda::{Module, Nvrtc};
use raddle_device::kernel::{Kernel, KernelMeta};
use raddle_device::param::{KernelParam, ParamRules};

use crate::assembler;
use crate::call::{Accesses, Binder, KernelArg};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Loaded;
use crate::panics::KernelIndex;
use crate::sync::lock;

/// A loaded image with kernels of any origin.
#[derive(Clone)]
pub struct ForeignModule {
    device: Device,
    module: Arc<Module>,
    /// For templates of CUDA C++: the entry's name by the expression that asked
    /// for it.
    entries: Arc<HashMap<String, String>>,
}

impl ForeignModule {
    /// Assembles PTX for the device.
    ///
    /// ## Errors
    ///
    /// [`Error::Declaration`] on the CPU device; [`Error::Cuda`] with the
    /// assembler's log.
    pub fn from_ptx(device: &Device, ptx: &str) -> Result<Self> {
        let module = Module::from_ptx(context(device)?, ptx)?;
        Ok(Self { device: device.clone(), module, entries: Arc::default() })
    }

    /// As [`Self::from_ptx`], with the machine code from the cache of kernels or kept there
    /// for the next time.
    ///
    /// The driver's linker assembles it, so it is for PTX without recursion; PTX with
    /// `wgmma` or `setmaxnreg` is assembled as [`Self::from_ptx`] does.
    ///
    /// ## Errors
    ///
    /// As [`Self::from_ptx`].
    pub fn from_ptx_cached(device: &Device, ptx: &str) -> Result<Self> {
        context(device)?;
        let cuda = device.inner().cuda.as_ref().expect("a device with a context is a GPU");
        let module = assembler::load_text(cuda, "ptx", ptx)?;
        Ok(Self { device: device.clone(), module, entries: Arc::default() })
    }

    /// Loads machine code.
    ///
    /// ## Errors
    ///
    /// [`Error::Declaration`] on the CPU device; [`Error::Cuda`] if the image is
    /// cut, or for another GPU.
    ///
    /// # Safety
    ///
    /// The bytes are a cubin as a CUDA tool wrote it: the driver trusts its inner
    /// structure.
    pub unsafe fn from_cubin(device: &Device, cubin: &[u8]) -> Result<Self> {
        // SAFETY: the caller's contract.
        let module = unsafe { Module::from_cubin(context(device)?, cubin)? };
        Ok(Self { device: device.clone(), module, entries: Arc::default() })
    }

    /// Compiles CUDA C++ text with NVRTC. `options` are as for `nvcc`; the
    /// architecture is the device's unless they name one. `names` are the kernels
    /// wanted, as C++ expressions: `axpy`, or `axpy<float>` for an instance of a
    /// template.
    ///
    /// ## Errors
    ///
    /// [`Error::Declaration`] on the CPU device; [`Error::Cuda`] without NVRTC,
    /// and with the compiler's log if it refuses the text.
    pub fn from_cuda(
        device: &Device,
        source: &str,
        options: &[&str],
        names: &[&str],
    ) -> Result<Self> {
        let context = context(device)?;
        let (major, minor) = device.compute_capability().unwrap_or((0, 0));
        let architecture = format!("--gpu-architecture=compute_{major}{minor}");
        let is_given =
            options.iter().any(|o| o.starts_with("--gpu-arch") || o.starts_with("-arch"));
        let mut all = options.to_vec();
        if !is_given {
            all.push(&architecture);
        }
        let compiled = Nvrtc::load()?.compile(source, &all, names)?;
        let module = Module::from_ptx(context, &compiled.ptx)?;
        let entries = names.iter().map(ToString::to_string).zip(compiled.entries).collect();
        Ok(Self { device: device.clone(), module, entries: Arc::new(entries) })
    }

    /// The kernel of that name, with parameters of the types `P`: a tuple of
    /// kernel parameter types, such as `(f32, *const f32, *mut f32)`.
    ///
    /// ## Errors
    ///
    /// [`Error::Declaration`] if there is no such kernel or the driver says that
    /// its parameters are others.
    pub fn function<P: ForeignParams>(&self, name: &str) -> Result<ForeignKernel<P>> {
        let function = self.find(name)?;
        let declaration = |reason| Error::Declaration { kernel: name.to_owned(), reason };
        check_params(&function, P::SIZES).map_err(|problem| match problem {
            Problem::Differs(reason) => declaration(reason),
            Problem::Cuda(error) => error.into(),
        })?;
        self.kernel(name, function)
    }

    /// As [`Self::function`], for a kernel whose text was written for these parameters: the
    /// driver is not asked, which can only be asked for one parameter too many, and tools
    /// that report refused calls report that.
    ///
    /// ## Errors
    ///
    /// [`Error::Declaration`] if there is no such kernel.
    pub fn function_as_written<P: ForeignParams>(&self, name: &str) -> Result<ForeignKernel<P>> {
        let function = self.find(name)?;
        self.kernel(name, function)
    }

    fn find(&self, name: &str) -> Result<raddle_cuda::Function> {
        let entry = self.entries.get(name).map_or(name, String::as_str);
        match self.module.function(entry) {
            Err(error) if error.status() == Some(raddle_cuda::Status::NOT_FOUND) => {
                let reason = "the module has no kernel of this name".to_owned();
                Err(Error::Declaration { kernel: name.to_owned(), reason })
            }
            result => Ok(result?),
        }
    }

    fn kernel<P: ForeignParams>(
        &self,
        name: &str,
        function: raddle_cuda::Function,
    ) -> Result<ForeignKernel<P>> {
        let kernel = described(name, P::RULES);
        // Its panics go nowhere, so its number is never looked at.
        let number = KernelIndex(0);
        let loaded = Arc::new(crate::kernels::loaded(&self.device, kernel, function, number)?);
        Ok(ForeignKernel { device: self.device.clone(), loaded, kernel, params: PhantomData })
    }
}

/// A kernel of a [`ForeignModule`].
pub struct ForeignKernel<P> {
    device: Device,
    loaded: Arc<Loaded>,
    kernel: &'static Kernel,
    params: PhantomData<fn(P)>,
}

impl<P: ForeignParams> ForeignKernel<P> {
    /// A call with these arguments, a tuple of what [`KernelArg`] takes for each
    /// parameter.
    ///
    /// # Safety
    ///
    /// With these arguments and in the shape it is launched in, the kernel
    /// touches only elements of the buffers passed, writes only to those passed
    /// for writing, and ends.
    #[must_use = "a call does nothing until a stream launches it"]
    pub unsafe fn call<'k, A: ForeignArgs<'k, P>>(&self, arguments: A) -> ForeignCall<'k, P> {
        let mut binder = Binder::new(self.kernel);
        let params = arguments.bind(&mut binder);
        let (accesses, error) = binder.into_parts();
        let (device, loaded) = (self.device.clone(), Arc::clone(&self.loaded));
        ForeignCall { kernel: self.kernel, device, loaded, params, accesses, error }
    }
}

/// A foreign kernel with its arguments, not yet launched.
#[must_use = "a call does nothing until a stream launches it"]
pub struct ForeignCall<'k, P: ForeignParams> {
    pub(crate) kernel: &'static Kernel,
    pub(crate) device: Device,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) params: P::Raw,
    pub(crate) accesses: Accesses<'k>,
    pub(crate) error: Option<Box<Error>>,
}

/// Most parameters of a foreign kernel.
pub const FOREIGN_PARAMS_MAX: usize = 12;

/// A tuple of kernel parameter types.
pub trait ForeignParams {
    /// The parameters as they lie before a launch.
    type Raw: Copy;
    /// Bytes of each parameter.
    const SIZES: &'static [usize];
    /// What the parameters demand of a launch.
    const RULES: ParamRules;
    /// One pointer for each parameter.
    fn pointers(raw: &Self::Raw) -> [*mut c_void; FOREIGN_PARAMS_MAX];
}

/// A tuple of host values for the parameters `P`.
pub trait ForeignArgs<'k, P: ForeignParams> {
    /// Writes down what the launch will touch and gives the raw parameters.
    fn bind(self, binder: &mut Binder<'k>) -> P::Raw;
}

macro_rules! tuples {
    ($($($param:ident $arg:ident $index:tt),*;)*) => { $(
        impl<$($param: KernelParam),*> ForeignParams for ($($param,)*) {
            type Raw = ($($param::Raw,)*);
            const SIZES: &'static [usize] = &[$(size_of::<$param::Raw>()),*];
            const RULES: ParamRules = ParamRules::NONE$(.and($param::RULES))*;
            #[allow(unused_variables, unused_mut)]
            fn pointers(raw: &Self::Raw) -> [*mut c_void; FOREIGN_PARAMS_MAX] {
                let mut pointers = [std::ptr::null_mut(); FOREIGN_PARAMS_MAX];
                $(pointers[$index] = (&raw const raw.$index).cast_mut().cast();)*
                pointers
            }
        }

        impl<'k, $($param: KernelParam, $arg: KernelArg<'k, $param>),*>
            ForeignArgs<'k, ($($param,)*)> for ($($arg,)*)
        {
            #[allow(unused_variables, clippy::unused_unit)]
            fn bind(self, binder: &mut Binder<'k>) -> ($($param::Raw,)*) {
                ($(self.$index.bind(binder),)*)
            }
        }
    )* };
}
tuples! {
    ;
    P0 A0 0;
    P0 A0 0, P1 A1 1;
    P0 A0 0, P1 A1 1, P2 A2 2;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6, P7 A7 7;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6, P7 A7 7, P8 A8 8;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6, P7 A7 7, P8 A8 8, P9 A9 9;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6, P7 A7 7, P8 A8 8, P9 A9 9, P10 A10 10;
    P0 A0 0, P1 A1 1, P2 A2 2, P3 A3 3, P4 A4 4, P5 A5 5, P6 A6 6, P7 A7 7, P8 A8 8, P9 A9 9, P10 A10 10, P11 A11 11;
}

fn context(device: &Device) -> Result<&Arc<raddle_cuda::Context>> {
    device.cuda_context().ok_or_else(|| Error::Declaration {
        kernel: "a foreign module".to_owned(),
        reason: "foreign kernels are machine code for GPUs and cannot run on the CPU device"
            .to_owned(),
    })
}

enum Problem {
    Differs(String),
    Cuda(raddle_cuda::Error),
}

/// Compares declared sizes with those in the image, where the driver tells them.
fn check_params(function: &raddle_cuda::Function, sizes: &[usize]) -> Result<(), Problem> {
    for (index, &declared) in sizes.iter().enumerate() {
        match function.param(index) {
            Err(raddle_cuda::Error::FunctionMissing { .. }) => return Ok(()),
            Err(error) => return Err(Problem::Cuda(error)),
            Ok(Some((_, bytes))) if bytes == declared => {}
            Ok(Some((_, bytes))) => {
                return Err(Problem::Differs(format!(
                    "parameter {index} has {bytes} bytes in the image and {declared} in its declared type"
                )));
            }
            Ok(None) => {
                return Err(Problem::Differs(format!(
                    "the image has {index} parameters, {} are declared",
                    sizes.len()
                )));
            }
        }
    }
    match function.param(sizes.len()) {
        Ok(Some(_)) => Err(Problem::Differs(format!(
            "the image has more than the {} parameters that are declared",
            sizes.len()
        ))),
        Ok(None) | Err(raddle_cuda::Error::FunctionMissing { .. }) => Ok(()),
        Err(error) => Err(Problem::Cuda(error)),
    }
}

/// What messages and checks need to know of a foreign kernel, kept for the life
/// of the process and shared by equal declarations.
fn described(name: &str, rules: ParamRules) -> &'static Kernel {
    static KNOWN: Mutex<Vec<&'static Kernel>> = Mutex::new(Vec::new());
    let mut known = lock(&KNOWN);
    if let Some(kernel) = known.iter().find(|kernel| kernel.name == name && kernel.rules == rules) {
        return kernel;
    }
    let kernel = Box::leak(Box::new(Kernel {
        name: Box::leak(name.into()),
        images: &[],
        meta: KernelMeta::NONE,
        rules,
        body: no_body,
        file: "",
        line: 0,
    }));
    known.push(kernel);
    kernel
}

unsafe fn no_body(_params: *const u8) {
    unreachable!("a foreign kernel is only launched on GPUs");
}
