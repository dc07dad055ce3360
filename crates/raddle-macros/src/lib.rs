//! `#[kernel]`, `#[derive(DeviceType)]` and friends: thin, they only write down
//! what the traits of `raddle-device` and `raddle-runtime` decide.

use proc_macro::TokenStream;

/// Marks a kernel.
#[proc_macro_attribute]
pub fn kernel(_attr: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Derives `DeviceType`.
#[proc_macro_derive(DeviceType)]
pub fn derive_device_type(_item: TokenStream) -> TokenStream {
    TokenStream::new()
}

/// Derives `Zeroable`.
#[proc_macro_derive(Zeroable)]
pub fn derive_zeroable(_item: TokenStream) -> TokenStream {
    TokenStream::new()
}
