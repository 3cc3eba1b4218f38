//! The boot daemon's shell: sockets, store, clock and jobs around `bootd-core`.

pub mod net;
