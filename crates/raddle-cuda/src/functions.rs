//! Tables of functions that a library exports, for the libraries that are optional.

/// Makes a table named `$api` with one field for each function, all of which return an
/// `int`, and `resolve`, which fills it or names the function that is missing. The rows
/// state the signatures of the library's header.
macro_rules! library_functions {
    ($api:ident { $($field:ident: $symbol:literal, ($($arg:ty),*);)* }) => {
        struct $api {
            $($field: unsafe extern "C" fn($($arg),*) -> std::ffi::c_int,)*
        }

        impl $api {
            fn resolve(
                resolve: &dyn Fn(&str) -> *mut std::ffi::c_void,
            ) -> std::result::Result<Self, &'static str> {
                Ok(Self { $($field: {
                    let address = resolve($symbol);
                    if address.is_null() {
                        return Err($symbol);
                    }
                    // SAFETY: the row has the signature of the header for this name.
                    unsafe {
                        std::mem::transmute::<
                            *mut std::ffi::c_void,
                            unsafe extern "C" fn($($arg),*) -> std::ffi::c_int,
                        >(address)
                    }
                },)* })
            }
        }
    };
}

pub(crate) use library_functions;
