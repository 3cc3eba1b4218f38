//! The life cycle of a machine: phases, facts, the decision and what a netbooting machine receives.

pub mod facts;
