//! A real iPXE (the ROMs that QEMU brings, Debian 12: of 2019) runs our scripts. QEMU's user network gives the address and the
//! script's URL; nothing here needs root.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::fixture::{Kernel, NO_FACTORY, Site, local};

/// Where the guest sees the host's loopback.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// True if every file is there; says what is missing otherwise.
fn have(files: &[&str]) -> bool {
    let missing = files.iter().find(|file| !Path::new(file).exists());
    if let Some(file) = missing {
        eprintln!("SKIPPED: no {file} here, apt-get install ipxe ovmf");
    }
    missing.is_none()
}

/// Powers on a guest whose network card boots first; `None` without QEMU.
fn power_on(site: &Site, firmware: Option<&str>) -> Option<Guest> {
    let url = format!(
        "http://{HOST}:{}/boot/script?mac=52:54:00:77:00:02",
        site.bound.http.port()
    );
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-accel",
        "tcg",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
    ])
    .args(["-no-reboot", "-netdev"])
    .arg(format!("user,id=n,bootfile={url}"))
    .args([
        "-device",
        "virtio-net-pci,netdev=n,mac=52:54:00:77:00:02,bootindex=1",
    ]);
    if let Some(path) = firmware {
        let drive = format!("if=pflash,format=raw,readonly=on,file={path}");
        qemu.args(["-drive", &drive]);
    }
    let spawned = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn();
    match spawned {
        Ok(child) => Some(Guest(child)),
        Err(error) => {
            eprintln!("SKIPPED: no qemu-system-x86_64 here ({error})");
            None
        }
    }
}

/// `kernel` is an iPXE in the shape of a kernel, because iPXE goes on to the initrd only behind something that it could start.
async fn boots(firmware: Option<&str>, kernel: &'static str) {
    let files: Vec<&str> = firmware.into_iter().chain([kernel]).collect();
    if !have(&files) {
        return;
    }
    let site = Site::with(NO_FACTORY, Kernel::CopyOf(kernel), HOST).await;
    let Some(_guest) = power_on(&site, firmware) else {
        return;
    };
    site.desk.told("ScriptServed { what: Agent").await;
    site.desk.told("KernelServed { what: Agent }").await;
    site.desk.told("InitrdServed { what: Agent }").await;
    site.stop().await;
}

#[tokio::test]
async fn bios() {
    boots(None, "/boot/ipxe.lkrn").await;
}

#[tokio::test]
async fn uefi() {
    boots(Some("/usr/share/OVMF/OVMF_CODE.fd"), "/boot/ipxe.efi").await;
}

#[tokio::test]
async fn own_disk() {
    let site = Site::with(NO_FACTORY, Kernel::Zeros(1), HOST).await;
    site.desk.set(|s| s.netboot = local());
    let Some(_guest) = power_on(&site, None) else {
        return;
    };
    site.desk.told("ScriptServed { what: Local").await;
    assert!(!site.desk.all().iter().any(|t| t.contains("KernelServed")));
    site.stop().await;
}
