//! A server over real sockets with a model that does what a test tells it to.

#[path = "end_to_end/canaries.rs"]
mod canaries;
#[path = "end_to_end/connections.rs"]
mod connections;
#[path = "end_to_end/deployment.rs"]
mod deployment;
#[path = "end_to_end/hostile.rs"]
mod hostile;
#[path = "end_to_end/overload.rs"]
mod overload;
#[path = "end_to_end/protocol.rs"]
mod protocol;
#[path = "end_to_end/reload.rs"]
mod reload;
#[path = "end_to_end/rig.rs"]
mod rig;
#[path = "end_to_end/secure.rs"]
mod secure;
#[path = "end_to_end/traces.rs"]
mod traces;
mod trial;
