//! Where the tests of models find their data, and how results are compared.

pub mod compare;
pub mod corpus;
pub mod npz;
pub mod report;
pub mod types;
