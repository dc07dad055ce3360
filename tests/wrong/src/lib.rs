//! Kernels that the build must refuse, with message and place.
