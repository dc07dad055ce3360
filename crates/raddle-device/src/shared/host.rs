//! Static shared variables on the CPU device: each site and generic instance is
//! known to the engine by a name that no other has.

use core::any::TypeId;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use std::collections::HashMap;
use std::string::String;
use std::sync::Mutex;

use crate::host::{SharedKey, engine};

/// The block's copy of the variable declared at `place` by `Site`.
#[track_caller]
pub(super) fn static_address<T, Site>(place: &'static str) -> *mut u8 {
    let key = SharedKey { site: place, instance: instance_name::<Site>() };
    engine().shared_static(key, size_of::<T>(), align_of::<T>().max(16))
}

/// A name for the type `Site`. `type_name` alone does not tell two closures of
/// one function apart, so the type's identity is added. Names are made once and
/// kept for the life of the process, one for each instance in the program.
fn instance_name<Site>() -> &'static str {
    static NAMES: Mutex<Option<HashMap<TypeId, &'static str>>> = Mutex::new(None);
    let id = type_id::<Site>();
    let mut names = match NAMES.lock() {
        Ok(names) => names,
        // Names are inserted whole, so the table is sound after a panic.
        Err(poisoned) => poisoned.into_inner(),
    };
    names.get_or_insert_default().entry(id).or_insert_with(|| {
        let mut name = String::from(core::any::type_name::<Site>());
        let mut hasher = std::hash::DefaultHasher::new();
        id.hash(&mut hasher);
        name.push('#');
        name.push_str(&std::string::ToString::to_string(&hasher.finish()));
        name.leak()
    })
}

/// The identity of `T` with its lifetimes erased: they do not distinguish
/// function instances.
fn type_id<T>() -> TypeId {
    trait Identity {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T> Identity for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom = PhantomData::<T>;
    let object: &dyn Identity = &phantom;
    // SAFETY: only the lifetime bound of the object changes, and `id` neither
    // keeps nor reads anything that has a lifetime.
    let object = unsafe {
        core::mem::transmute::<&(dyn Identity + '_), &'static (dyn Identity + 'static)>(object)
    };
    object.id()
}
