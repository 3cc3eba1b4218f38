//! The part of CEL in which configs name disks, decided for a disk that was seen.
//!
//! Promises: an answer is given only where everything that it depends on is known; whatever else CEL has is "unknown",
//! never "no", and so is what was not seen: a property that is empty here may be there for Talos, and a device name
//! may be another disk's at the next boot. No text panics, and none takes longer than its length allows.

use super::pattern::glob;
use super::select::{Access, Bus, Disk, DiskKind};

/// Whether an expression is true of a disk; nothing where that cannot be said.
pub(super) fn holds(expression: &str, disk: &Disk, system_disk: Option<bool>) -> Option<bool> {
    let tokens = tokens(expression)?;
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        depth: 0,
        disk,
        system_disk,
    };
    let value = reader.either()?;
    if reader.at != tokens.len() {
        return None;
    }
    value.truth()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(u64),
    Sign(&'static str),
}

const SIGNS: [&str; 13] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", ",", "*",
];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '"' || first == '\'' {
            let end = rest[1..].find(first)? + 1;
            let body = &rest[1..end];
            if body.contains('\\') {
                return None;
            }
            (Token::Text(body.to_owned()), end + 1)
        } else if first.is_ascii_digit() {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = rest[..length].parse().ok()?;
            let unsigned = usize::from(rest[length..].starts_with(['u', 'U']));
            (Token::Number(number), length + unsigned)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
            let length = rest.bytes().take_while(inner).count();
            (Token::Name(rest[..length].to_owned()), length)
        } else {
            let sign = SIGNS.into_iter().find(|s| rest.starts_with(s))?;
            (Token::Sign(sign), sign.len())
        };
        out.push(token);
        rest = rest[length..].trim_start();
    }
    Some(out)
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Number(u64),
    Text(String),
    /// A text that is not known, but none of these.
    OtherThan(&'static [&'static str]),
    Unknown,
}

/// What the transport of an internal disk that is neither NVMe nor a card nor of a virtual machine is not.
const ATA_OR_SCSI: &[&str] = &["nvme", "usb", "mmc", "virtio"];

impl Value {
    fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Number(_) | Self::Text(_) | Self::OtherThan(_) | Self::Unknown => None,
        }
    }

    fn of(truth: Option<bool>) -> Self {
        truth.map_or(Self::Unknown, Self::Bool)
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    disk: &'a Disk,
    system_disk: Option<bool>,
}

/// Brackets and negations inside each other.
const DEPTH_MAX: usize = 64;

impl Reader<'_> {
    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(there);
        there
    }

    /// `a || b`: true where one is, also where the other is not known.
    fn either(&mut self) -> Option<Value> {
        let mut left = self.both()?;
        while self.take("||") {
            let right = self.both()?;
            left = Value::of(match (left.truth(), right.truth()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            });
        }
        Some(left)
    }

    /// `a && b`: false where one is, also where the other is not known.
    fn both(&mut self) -> Option<Value> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            left = Value::of(match (left.truth(), right.truth()) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            });
        }
        Some(left)
    }

    fn comparison(&mut self) -> Option<Value> {
        let left = self.product()?;
        let signs = ["==", "!=", "<=", ">=", "<", ">"];
        let Some(sign) = signs.into_iter().find(|s| self.take(s)) else {
            return Some(left);
        };
        let right = self.product()?;
        Some(Value::of(match (&left, &right) {
            (Value::Number(left), Value::Number(right)) => Some(match sign {
                "==" => left == right,
                "!=" => left != right,
                "<=" => left <= right,
                ">=" => left >= right,
                "<" => left < right,
                _ => left > right,
            }),
            (Value::Text(_), Value::Text(_)) | (Value::Bool(_), Value::Bool(_)) => match sign {
                "==" => Some(left == right),
                "!=" => Some(left != right),
                _ => None,
            },
            (Value::OtherThan(none), Value::Text(text))
            | (Value::Text(text), Value::OtherThan(none)) => match sign {
                "==" => none.contains(&text.as_str()).then_some(false),
                "!=" => none.contains(&text.as_str()).then_some(true),
                _ => None,
            },
            _ => None,
        }))
    }

    fn product(&mut self) -> Option<Value> {
        let mut left = self.unary()?;
        while self.take("*") {
            let right = self.unary()?;
            left = match (left, right) {
                (Value::Number(left), Value::Number(right)) => left
                    .checked_mul(right)
                    .map_or(Value::Unknown, Value::Number),
                _ => Value::Unknown,
            };
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let value = if self.take("!") {
            Value::of(self.unary()?.truth().map(|t| !t))
        } else if self.take("(") {
            let inner = self.either()?;
            if !self.take(")") {
                return None;
            }
            inner
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Some(value)
    }

    fn primary(&mut self) -> Option<Value> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        match token {
            Token::Number(number) => Some(Value::Number(number)),
            Token::Text(text) => Some(Value::Text(text)),
            Token::Name(name) if name == "glob" => self.glob(),
            Token::Name(name) => Some(self.name(&name)),
            Token::Sign(_) => None,
        }
    }

    fn glob(&mut self) -> Option<Value> {
        if !self.take("(") {
            return None;
        }
        let pattern = self.product()?;
        if !self.take(",") {
            return None;
        }
        let text = self.product()?;
        if !self.take(")") {
            return None;
        }
        Some(match (pattern, text) {
            (Value::Text(pattern), Value::Text(text)) => Value::Bool(glob(&pattern, &text)),
            _ => Value::Unknown,
        })
    }

    fn name(&self, name: &str) -> Value {
        let disk = self.disk;
        let text = |text: &str| match text {
            "" => Value::Unknown,
            text => Value::Text(text.to_owned()),
        };
        match name {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "system_disk" => Value::of(self.system_disk),
            "disk.size" => Value::Number(disk.bytes),
            "disk.model" => text(&disk.model),
            "disk.serial" => text(&disk.serial),
            "disk.wwid" => text(&disk.wwid),
            "disk.bus_path" => text(&disk.bus_path),
            "disk.rotational" => Value::of(rotational(disk)),
            "disk.readonly" => Value::Bool(disk.access == Access::ReadOnly),
            "disk.cdrom" => Value::Bool(false),
            "disk.transport" => transport(disk),
            unit => super::size::parse_size(&format!("1{unit}"))
                .filter(|_| unit.ends_with('B'))
                .map_or(Value::Unknown, Value::Number),
        }
    }
}

fn rotational(disk: &Disk) -> Option<bool> {
    match disk.kind {
        DiskKind::Hdd => Some(true),
        DiskKind::Nvme | DiskKind::Ssd | DiskKind::Sd => Some(false),
        DiskKind::Unknown => None,
    }
}

/// By the kernel's name where it says that: the driver decides the name, not the order at boot.
fn transport(disk: &Disk) -> Value {
    let named = [("nvme", "nvme"), ("mmcblk", "mmc"), ("vd", "virtio")];
    let by_name = named
        .iter()
        .find(|(prefix, _)| disk.device.starts_with(prefix))
        .map(|(_, transport)| *transport);
    let text = |text: &str| Value::Text(text.to_owned());
    match (by_name, disk.bus, disk.kind) {
        (Some(transport), _, _) => text(transport),
        (None, _, DiskKind::Nvme) => text("nvme"),
        (None, _, DiskKind::Sd) => text("mmc"),
        (None, Bus::Usb, _) => text("usb"),
        (None, Bus::Internal, DiskKind::Ssd | DiskKind::Hdd) => Value::OtherThan(ATA_OR_SCSI),
        (None, _, _) => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::select::Medium;
    use super::*;

    fn disk() -> Disk {
        Disk {
            device: "nvme0n1".into(),
            serial: "S1".into(),
            wwid: "eui.1".into(),
            model: "PM9A3".into(),
            bus_path: "/pci0000:00".into(),
            bytes: 480_000_000_000,
            kind: DiskKind::Nvme,
            bus: Bus::Internal,
            access: Access::ReadWrite,
            medium: Medium::Fixed,
            array: None,
            unreadable: None,
        }
    }

    #[test]
    fn what_can_be_said_and_what_cannot() {
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(holds(text, &disk(), None), expected, "{text}");
        };
        check("disk.transport == \"nvme\"", Some(true));
        check("disk.size > 400u * GB && !disk.rotational", Some(true));
        check("disk.size > 1u * TiB", Some(false));
        check("glob('PM*', disk.model) && disk.serial != 'S2'", Some(true));
        check(
            "(disk.serial == \"X\" || disk.wwid == \"eui.1\")",
            Some(true),
        );
        check("disk.dev_path == \"/dev/sda\"", None);
        check("system_disk", None);
        check("!system_disk && disk.serial == \"X\"", Some(false));
        check("'x' in disk.symlinks", None);
        check("disk.size + 1 > 2", None);
        check("disk.model.startsWith(\"P\")", None);
        check("", None);
        check("disk.size", None);
    }

    #[test]
    fn what_was_not_seen_is_not_known() {
        let ssd = |change: fn(&mut Disk)| {
            let mut disk = Disk {
                device: "sda".into(),
                kind: DiskKind::Ssd,
                ..disk()
            };
            change(&mut disk);
            disk
        };
        let check = |disk: &Disk, text: &str, expected: Option<bool>| {
            assert_eq!(holds(text, disk, None), expected, "{text} of {disk:?}");
        };
        check(&ssd(|d| d.serial.clear()), "disk.serial == 'S2'", None);
        check(
            &ssd(|d| d.bus = Bus::Unknown),
            "disk.transport == 'usb'",
            None,
        );
        check(
            &ssd(|d| d.bus = Bus::Usb),
            "disk.transport == 'usb'",
            Some(true),
        );
        check(&ssd(|_| {}), "disk.transport == 'usb'", Some(false));
        check(&ssd(|_| {}), "disk.transport == 'sata'", None);
        check(&ssd(|_| {}), "disk.transport == ''", None);
        check(
            &ssd(|d| d.device = "mmcblk0".into()),
            "disk.transport == 'mmc'",
            Some(true),
        );
        check(
            &ssd(|d| d.kind = DiskKind::Unknown),
            "disk.rotational",
            None,
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,80}", other in "[!(&|=<>'a-z.,*0-9\" ]{0,200}") {
            let _ = (holds(&text, &disk(), None), holds(&other, &disk(), Some(true)));
        }

        #[test]
        fn depth_has_a_bound(depth in 0_usize..5000) {
            let _ = holds(&"!(".repeat(depth), &disk(), None);
        }
    }
}
