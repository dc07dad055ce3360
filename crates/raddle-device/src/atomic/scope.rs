//! Scopes as types: the set of threads among which an operation is atomic and
//! ordered.
//!
//! *Source*: PTX ISA, "Memory Consistency Model: Scope".

/// A scope.
pub trait Scope: sealed::Sealed + Copy + 'static {
    /// Which scope.
    #[doc(hidden)]
    const KIND: Kind;
}

/// The scopes as values.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `.cta`
    Block,
    /// `.cluster`
    Cluster,
    /// `.gpu`
    Device,
    /// `.sys`
    System,
}

mod sealed {
    /// Keeps the scopes to PTX's.
    pub trait Sealed {}
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Scope for $name {
            const KIND: Kind = Kind::$kind;
        }
    )* };
}

scopes! {
    /// The threads of the block (PTX `.cta`).
    BlockScope = Block;
    /// The threads of the cluster (PTX `.cluster`, sm_90).
    ClusterScope = Cluster;
    /// The threads of all kernels on the GPU (PTX `.gpu`).
    DeviceScope = Device;
    /// All threads, the host's and other GPUs' among them (PTX `.sys`).
    SystemScope = System;
}
