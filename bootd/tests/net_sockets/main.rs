//! The netboot sockets with real peers on loopback and a scripted desk behind them.

mod dhcp;
mod fixture;
mod http;
mod images;
mod sinks;
mod tftp;
