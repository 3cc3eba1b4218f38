//! Bytes to values and back. Parsers never panic and never allocate more than the input is long.

pub mod dhcp;
pub mod pxe;
