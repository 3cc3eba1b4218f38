//! Packs the boot archives: `agent-initrd agent INIT OUT` and `agent-initrd modules DIR OUT [NAME...]`.
//!
//! DIR is any directory that holds a kernel's unpacked `.ko` files; their needs are read from the files themselves, so neither
//! depmod nor an installed kernel is needed.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use metal_agent::initrd::{
    compress, depends_of, load_order, module_name, pack_agent, pack_modules,
};

const LEVEL: i32 = 19;

/// Taken when no name is given, as far as the kernel has them: common network cards and disk controllers, and what the agent
/// reads images and BMCs with.
const USUAL: [&str; 27] = [
    "virtio_pci",
    "virtio_net",
    "e1000e",
    "igb",
    "igc",
    "ixgbe",
    "i40e",
    "ice",
    "tg3",
    "bnxt_en",
    "mlx5_core",
    "r8169",
    "vmxnet3",
    "virtio_rng",
    "virtio_blk",
    "virtio_scsi",
    "ahci",
    "sd_mod",
    "nvme",
    "megaraid_sas",
    "mpt3sas",
    "smartpqi",
    "hpsa",
    "loop",
    "squashfs",
    "ipmi_devintf",
    "ipmi_si",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["agent", init, out] => agent(init, out),
        ["modules", dir, out, names @ ..] => modules(Path::new(dir), out, names),
        _ => Err(
            "usage: agent-initrd agent INIT OUT | agent-initrd modules DIR OUT [NAME...]"
                .to_owned(),
        ),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("agent-initrd: {why}");
            ExitCode::FAILURE
        }
    }
}

fn agent(init: &str, out: &str) -> Result<String, String> {
    let program = fs::read(init).map_err(|e| format!("{init}: {e}"))?;
    if !program.starts_with(b"\x7fELF") {
        return Err(format!("{init} is no program"));
    }
    let archive = pack_agent(program).map_err(|e| e.to_string())?;
    write(out, &archive, "the agent".to_owned())
}

fn modules(dir: &Path, out: &str, names: &[&str]) -> Result<String, String> {
    let mut files = BTreeMap::new();
    collect(dir, &mut files).map_err(|e| format!("{}: {e}", dir.display()))?;
    if files.is_empty() {
        return Err(format!(
            "{} holds no .ko files (compressed modules are not supported)",
            dir.display()
        ));
    }
    let mut depends = BTreeMap::new();
    for (name, path) in &files {
        let content = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        depends.insert(name.clone(), depends_of(&content));
    }
    let wanted: Vec<String> = if names.is_empty() {
        USUAL
            .iter()
            .map(|name| module_name(name))
            .filter(|name| files.contains_key(name))
            .collect()
    } else {
        names.iter().map(|name| module_name(name)).collect()
    };
    let order = load_order(&wanted, &depends).map_err(|e| e.to_string())?;
    let mut packed = Vec::new();
    for name in &order {
        let path = &files[name];
        let content = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        packed.push((format!("{name}.ko"), content));
    }
    let archive = pack_modules(packed).map_err(|e| e.to_string())?;
    write(out, &archive, format!("{} modules", order.len()))
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(stem) = path.file_stem()
        {
            files.insert(module_name(&stem.to_string_lossy()), path);
        }
    }
    Ok(())
}

/// Written beside its name first: a reader never sees half an archive.
fn write(out: &str, archive: &[u8], what: String) -> Result<String, String> {
    let packed = compress(archive, LEVEL).map_err(|e| e.to_string())?;
    let part = format!("{out}.part");
    fs::write(&part, &packed)
        .and_then(|()| fs::rename(&part, out))
        .map_err(|e| format!("{out}: {e}"))?;
    Ok(format!(
        "{out}: {what}, {} bytes ({} unpacked)",
        packed.len(),
        archive.len()
    ))
}
