//! The API on 7443: metal.v1 over TLS with client certificates; certificates and roles.

pub mod init;
pub mod tls;
