//! The simulator as the runtime sees it: kernels are closures that talk to the
//! engine directly, launched through [`raddle_sim::run_with`].

mod barriers;
mod clusters;
mod grids;
mod harness;
mod overflow;
mod panics;
mod schedules;
mod shared;
mod stalls;
mod warps;
