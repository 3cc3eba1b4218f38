//! Netboot answers: what leaves for a machine that boots from the network. Bytes in, values out; who may boot what is decided
//! elsewhere and comes in as an argument. Nothing here knows what an image holds.

pub mod proxydhcp;
pub mod redact;
pub mod script;
