//! The poller without a GPU: threads that write completion words stand for one.
