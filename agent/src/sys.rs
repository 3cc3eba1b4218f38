//! The system calls of the agent, and nothing else: the only file with `unsafe`.
//!
//! Every function is a thin, safe face of one call and returns its error untouched. No decision is made here.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

const BLKROGET: u64 = 0x125e;
const BLKFLSBUF: u64 = 0x1261;
const BLKDISCARD: u64 = 0x1277;
const BLKZEROOUT: u64 = 0x127f;
const BLKGETSIZE64: u64 = 0x8008_1272;

fn done(code: libc::c_long) -> io::Result<()> {
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Mounts a kernel file system. One that is mounted there already is left alone.
///
/// # Errors
/// As mount(2).
pub fn mount(kind: &str, target: &str) -> io::Result<()> {
    let (kind, target) = (c_string(kind)?, c_string(target)?);
    // SAFETY: all pointers are NUL-terminated strings that outlive the call; the data pointer may be null.
    let code = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    match done(code.into()) {
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        other => other,
    }
}

/// Loads an uncompressed kernel module. One that is loaded already is fine.
///
/// # Errors
/// As finit_module(2); `ENODEV` is what drivers say whose hardware is absent.
pub fn load_module(module: &File) -> io::Result<()> {
    const NO_PARAMETERS: &CStr = c"";
    // SAFETY: the descriptor is open for the whole call and the parameters are a NUL-terminated string.
    let code = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            module.as_raw_fd(),
            NO_PARAMETERS.as_ptr(),
            0,
        )
    };
    match done(code) {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Whether the kernel has random numbers yet. Asking for them before blocks, on some machines for ever.
#[must_use]
pub fn random_is_ready() -> bool {
    let mut byte = 0_u8;
    // SAFETY: getrandom(2) writes at most one byte to the pointer, which is valid for it.
    let got = unsafe { libc::getrandom((&raw mut byte).cast(), 1, libc::GRND_NONBLOCK) };
    got == 1
}

/// Size of a block device in bytes.
///
/// # Errors
/// As ioctl(2).
pub fn block_bytes(device: &File) -> io::Result<u64> {
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64 to the pointer, which is valid for it.
    done(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &raw mut bytes) }.into())?;
    Ok(bytes)
}

/// Whether the kernel refuses writes to a block device.
///
/// # Errors
/// As ioctl(2).
pub fn is_read_only(device: &File) -> io::Result<bool> {
    let mut flag: libc::c_int = 0;
    // SAFETY: BLKROGET writes one int to the pointer, which is valid for it.
    done(unsafe { libc::ioctl(device.as_raw_fd(), BLKROGET, &raw mut flag) }.into())?;
    Ok(flag != 0)
}

/// Zeroes a byte range (the kernel writes zeros where the device has no command for it).
///
/// # Errors
/// As ioctl(2).
pub fn zero_range(device: &File, offset: u64, bytes: u64) -> io::Result<()> {
    range_ioctl(device, BLKZEROOUT, offset, bytes)
}

/// Tells the device that a byte range is unused.
///
/// # Errors
/// As ioctl(2).
pub fn discard_range(device: &File, offset: u64, bytes: u64) -> io::Result<()> {
    range_ioctl(device, BLKDISCARD, offset, bytes)
}

fn range_ioctl(device: &File, request: u64, offset: u64, bytes: u64) -> io::Result<()> {
    let range = [offset, bytes];
    // SAFETY: both requests read two u64 from the pointer, which is valid for them.
    done(unsafe { libc::ioctl(device.as_raw_fd(), request, range.as_ptr()) }.into())
}

/// Writes dirty buffers of a block device and drops its cache.
///
/// # Errors
/// As ioctl(2).
pub fn flush_buffers(device: &File) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument.
    done(unsafe { libc::ioctl(device.as_raw_fd(), BLKFLSBUF, 0) }.into())
}

/// An address of an interface, or how it is reached.
#[derive(Debug, Clone, Copy)]
pub enum Interface {
    /// Administratively up.
    Up,
    /// Its IPv4 address.
    Address(Ipv4Addr),
    /// The mask of its network.
    Netmask(Ipv4Addr),
}

/// Changes one thing of a network interface.
///
/// # Errors
/// As ioctl(2).
pub fn set_interface(name: &str, what: Interface) -> io::Result<()> {
    // SAFETY: ifreq is plain data for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .take(libc::IFNAMSIZ - 1)
        .zip(name.bytes())
    {
        *to = from.cast_signed();
    }
    let number = match what {
        Interface::Up => {
            request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
            libc::SIOCSIFFLAGS
        }
        Interface::Address(address) => {
            request.ifr_ifru.ifru_addr = sockaddr(address);
            libc::SIOCSIFADDR
        }
        Interface::Netmask(mask) => {
            request.ifr_ifru.ifru_netmask = sockaddr(mask);
            libc::SIOCSIFNETMASK
        }
    };
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: these requests read an ifreq, which the pointer is valid for.
    done(
        unsafe {
            libc::ioctl(
                socket.as_raw_fd(),
                number as libc::Ioctl,
                &raw const request,
            )
        }
        .into(),
    )
}

/// `struct rtentry` of the kernel's route.h.
#[repr(C)]
struct Route {
    pad1: libc::c_ulong,
    dst: libc::sockaddr,
    gateway: libc::sockaddr,
    genmask: libc::sockaddr,
    flags: libc::c_ushort,
    pad2: libc::c_short,
    pad3: libc::c_ulong,
    pad4: *mut libc::c_void,
    metric: libc::c_short,
    dev: *mut libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    irtt: libc::c_ushort,
}

/// Adds the default route.
///
/// # Errors
/// As ioctl(2); one that exists already is fine.
pub fn add_default_route(gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: the structure is plain data for which all zeros is a valid value.
    let mut route: Route = unsafe { mem::zeroed() };
    route.dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.gateway = sockaddr(gateway);
    route.flags = libc::RTF_UP | libc::RTF_GATEWAY;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: SIOCADDRT reads an rtentry, which the pointer is valid for; its `dev` is null, which means "any".
    let code = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCADDRT as libc::Ioctl,
            &raw const route,
        )
    };
    match done(code.into()) {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0 as libc::c_char; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}

/// How a machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Off.
    PowerOff,
    /// Through the firmware again.
    Restart,
}

/// Ends the machine. Returns only if the kernel refuses.
///
/// # Errors
/// As reboot(2).
pub fn end(how: Ending) -> io::Result<()> {
    let command = match how {
        Ending::PowerOff => libc::LINUX_REBOOT_CMD_POWER_OFF,
        Ending::Restart => libc::LINUX_REBOOT_CMD_RESTART,
    };
    // SAFETY: sync(2) and reboot(2) with these commands take no pointers.
    done(
        unsafe {
            libc::sync();
            libc::reboot(command)
        }
        .into(),
    )
}
