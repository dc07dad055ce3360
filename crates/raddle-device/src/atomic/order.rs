//! Memory orders as types.
//!
//! *Source*: PTX ISA, "Memory Consistency Model: Operation types".

/// The order of a read-modify-write operation.
pub trait Order: sealed::Sealed + Copy {
    /// Which order.
    #[doc(hidden)]
    const KIND: Kind;
}

/// An order that a load may have.
pub trait LoadOrder: Order {}

/// An order that a store may have.
pub trait StoreOrder: Order {}

/// The orders as values.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `.relaxed`
    Relaxed,
    /// `.acquire`
    Acquire,
    /// `.release`
    Release,
    /// `.acq_rel`
    AcqRel,
}

mod sealed {
    /// Keeps the orders to PTX's.
    pub trait Sealed {}
}

macro_rules! orders {
    ($($(#[$doc:meta])* $name:ident: $($also:ident),*;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Order for $name {
            const KIND: Kind = Kind::$name;
        }
        $(impl $also for $name {})*
    )* };
}

orders! {
    /// Atomic, but orders nothing else (PTX `.relaxed`).
    Relaxed: LoadOrder, StoreOrder;
    /// What comes after stays after (PTX `.acquire`).
    Acquire: LoadOrder;
    /// What comes before stays before (PTX `.release`).
    Release: StoreOrder;
    /// Both (PTX `.acq_rel`).
    AcqRel: ;
}
