//! Classes and allocation: which machines match, which one a claim gets, and why the others do not.
//!
//! Promises: pure; the same question gets the same answer; a shortage names every near miss. Deliberately not here: holds' clocks
//! and storage (the shell's), and what a claim may erase (`lifecycle`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::id::{ClaimId, MachineId};
use crate::lifecycle::Hardware;

/// A range over whole numbers, bounds included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// Least.
    pub min: Option<u64>,
    /// Most.
    pub max: Option<u64>,
}

impl Range {
    /// True if `value` lies in it.
    pub fn contains(self, value: u64) -> bool {
        self.min.is_none_or(|m| value >= m) && self.max.is_none_or(|m| value <= m)
    }
}

/// A rule on disks: so many disks must be like this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskRule {
    /// `nvme`, `ssd`, `hdd`; empty: any.
    pub kind: String,
    /// Size.
    pub bytes: Range,
    /// Glob; empty: any.
    pub model: String,
    /// How many; nothing said: at least one.
    pub count: Range,
}

/// A rule on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    /// Which.
    pub key: String,
    /// One of these; empty: any value.
    pub any_of: Vec<String>,
    /// Must it hold or not?
    pub sense: Sense,
}

/// Must a rule hold or not?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// It must hold.
    Must,
    /// It must not hold.
    MustNot,
}

/// What a class asks for. An empty match takes every machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// Physical cores.
    pub cpu_cores: Range,
    /// Hardware threads.
    pub cpu_threads: Range,
    /// Memory.
    pub memory_bytes: Range,
    /// Empty: any.
    pub arch: String,
    /// Glob; empty: any.
    pub manufacturer: String,
    /// Glob; empty: any.
    pub product: String,
    /// All must hold.
    pub disks: Vec<DiskRule>,
    /// All must hold.
    pub labels: Vec<LabelRule>,
}

/// Whether a machine can be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In the pool.
    Free,
    /// In the pool with data that no claim may erase.
    Dirty,
    /// Held by a claim.
    Claimed(ClaimId),
    /// Not accepted.
    Unaccepted,
    /// Somewhere else in its life.
    Busy(String),
}

/// A machine as allocation sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: MachineId,
    /// Can it be taken?
    pub standing: Standing,
    /// Its hardware, if it was inspected.
    pub hardware: Option<Hardware>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its rack; empty: unknown.
    pub rack: String,
}

/// What a claim wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The claim.
    pub claim: ClaimId,
    /// From where.
    pub from: Source,
    /// Machines it must not get.
    pub avoid: BTreeSet<MachineId>,
    /// Prefer racks that hold few of its siblings.
    pub spread: Option<BTreeMap<String, usize>>,
    /// The machine that this slot had last.
    pub previous: Option<MachineId>,
    /// Machines that other plans hold softly: taken last.
    pub held: BTreeSet<MachineId>,
}

/// From where a claim is filled.
#[derive(Debug, Clone)]
pub enum Source {
    /// This machine.
    Server(MachineId),
    /// A class, by name, and its scope (empty: every machine).
    Class(String, Box<Match>, BTreeSet<MachineId>),
}

/// The machine that a claim gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Which.
    pub id: MachineId,
    /// `best of 3 free`.
    pub fit: String,
    /// How many free machines fit, this one included.
    pub free: usize,
}

/// No machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// How many were free, matching or not.
    pub free: usize,
    /// One line per machine, nearest first.
    pub misses: Vec<String>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free", self.free)?;
        for miss in &self.misses {
            write!(f, "; {miss}")?;
        }
        Ok(())
    }
}

/// Chooses: free and clean, then the slot's previous machine, then the tightest fit, then a hash that spreads claims evenly.
pub fn choose(wish: &Wish, candidates: &[Candidate]) -> Result<Pick, Shortage> {
    let mut fitting = Vec::new();
    let mut misses = Vec::new();
    let mut free = 0;
    for candidate in candidates {
        free += usize::from(candidate.standing == Standing::Free);
        match obstacle(wish, candidate) {
            Verdict::Fits => fitting.push(candidate),
            Verdict::Misses(weight, line) => misses.push((weight, line)),
            Verdict::NotMeant => {}
        }
    }
    let count = fitting.len();
    match fitting.into_iter().min_by_key(|c| rank(wish, c)) {
        Some(best) => Ok(Pick {
            id: best.id.clone(),
            fit: match &wish.from {
                Source::Server(_) => "named".to_owned(),
                Source::Class(..) => format!("best of {count} free"),
            },
            free: count,
        }),
        None => {
            misses.sort();
            Err(Shortage {
                free,
                misses: misses.into_iter().map(|(_, line)| line).collect(),
            })
        }
    }
}

enum Verdict {
    Fits,
    /// How far away, and why.
    Misses(usize, String),
    NotMeant,
}

fn obstacle(wish: &Wish, c: &Candidate) -> Verdict {
    let id = &c.id;
    let reasons = match &wish.from {
        Source::Server(named) if named != id => return Verdict::NotMeant,
        Source::Server(_) => Vec::new(),
        Source::Class(_, _, scope) if !scope.is_empty() && !scope.contains(id) => {
            return Verdict::NotMeant;
        }
        Source::Class(_, rules, _) => misses(rules, c.hardware.as_ref(), &c.labels),
    };
    let named = matches!(wish.from, Source::Server(_));
    if !reasons.is_empty() {
        return Verdict::Misses(
            10 + reasons.len(),
            format!("{id} fails {}", reasons.join(", ")),
        );
    }
    match &c.standing {
        Standing::Claimed(holder) => Verdict::Misses(1, format!("{id} is held by {holder}")),
        Standing::Dirty if !named => Verdict::Misses(
            2,
            format!("{id} is not free: it holds data that no claim may erase"),
        ),
        Standing::Busy(what) => Verdict::Misses(3, format!("{id} is {what}")),
        Standing::Unaccepted => Verdict::Misses(4, format!("{id} is not accepted")),
        Standing::Free | Standing::Dirty if wish.avoid.contains(id) => {
            Verdict::Misses(5, format!("{id} is to be avoided"))
        }
        Standing::Free | Standing::Dirty => Verdict::Fits,
    }
}

type Rank = (bool, usize, bool, bool, u64, u64, usize, Reverse<[u8; 32]>);

fn rank(wish: &Wish, c: &Candidate) -> Rank {
    let hardware = c.hardware.as_ref();
    let siblings = wish
        .spread
        .as_ref()
        .and_then(|racks| racks.get(&c.rack))
        .copied()
        .unwrap_or(0);
    let clean = hardware.is_none_or(|h| h.disks.iter().all(|d| d.blank));
    let mut digest = Sha256::new();
    digest.update(wish.claim.0.as_bytes());
    digest.update([0]);
    digest.update(c.id.0.as_bytes());
    (
        wish.held.contains(&c.id),
        siblings,
        !clean,
        wish.previous.as_ref() != Some(&c.id),
        hardware.map_or(0, |h| h.memory_bytes),
        hardware.map_or(0, |h| u64::from(h.cpu_cores)),
        hardware.map_or(0, |h| h.disks.len()),
        Reverse(digest.finalize().into()),
    )
}

/// Why a machine does not match; empty if it does.
pub fn misses(
    rules: &Match,
    hardware: Option<&Hardware>,
    labels: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut out = Vec::new();
    for rule in &rules.labels {
        if label_holds(rule, labels) != (rule.sense == Sense::Must) {
            let value = labels.get(&rule.key).map_or("absent", String::as_str);
            out.push(format!("label {} ({value})", rule.key));
        }
    }
    let unknown = Hardware::default();
    let asks_hardware = Match {
        labels: Vec::new(),
        ..rules.clone()
    } != Match::default();
    let hardware = match hardware {
        Some(hardware) => hardware,
        None if asks_hardware => {
            out.push("inspection: its hardware is not known yet".to_owned());
            return out;
        }
        None => &unknown,
    };
    number(
        &mut out,
        "cpu_cores",
        rules.cpu_cores,
        u64::from(hardware.cpu_cores),
        u64::to_string,
    );
    number(
        &mut out,
        "cpu_threads",
        rules.cpu_threads,
        u64::from(hardware.cpu_threads),
        u64::to_string,
    );
    number(
        &mut out,
        "memory",
        rules.memory_bytes,
        hardware.memory_bytes,
        size,
    );
    word(&mut out, "arch", &rules.arch, &hardware.arch);
    word(
        &mut out,
        "manufacturer",
        &rules.manufacturer,
        &hardware.manufacturer,
    );
    word(&mut out, "product", &rules.product, &hardware.product);
    for rule in &rules.disks {
        disks(&mut out, rule, hardware);
    }
    out
}

fn label_holds(rule: &LabelRule, labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(&rule.key)
        .is_some_and(|v| rule.any_of.is_empty() || rule.any_of.contains(v))
}

fn number(out: &mut Vec<String>, name: &str, range: Range, value: u64, show: fn(&u64) -> String) {
    if let Some(min) = range.min.filter(|m| value < *m) {
        out.push(format!("{name} {} < {}", show(&value), show(&min)));
    } else if let Some(max) = range.max.filter(|m| value > *m) {
        out.push(format!("{name} {} > {}", show(&value), show(&max)));
    }
}

fn word(out: &mut Vec<String>, name: &str, wanted: &str, value: &str) {
    if !wanted.is_empty() && !glob(wanted, value) {
        out.push(format!("{name} {value:?} is not {wanted:?}"));
    }
}

fn disks(out: &mut Vec<String>, rule: &DiskRule, hardware: &Hardware) {
    let found = hardware
        .disks
        .iter()
        .filter(|d| d.fixed())
        .filter(|d| rule.kind.is_empty() || d.kind == rule.kind)
        .filter(|d| rule.bytes.contains(d.bytes))
        .filter(|d| rule.model.is_empty() || glob(&rule.model, &d.model))
        .count() as u64;
    let wanted = if rule.count == Range::default() {
        Range {
            min: Some(1),
            max: None,
        }
    } else {
        rule.count
    };
    if !wanted.contains(found) {
        let kind = if rule.kind.is_empty() {
            "disks"
        } else {
            &rule.kind
        };
        out.push(format!("disks: {found} {kind} as asked for"));
    }
}

/// `4 GiB`, `500 GB`: binary where it is round, else decimal.
fn size(bytes: &u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes.is_multiple_of(GIB) {
        format!("{} GiB", bytes / GIB)
    } else if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{:.1} GB", *bytes as f64 / 1e9)
    }
}

/// `*` stands for any text, `?` for one character; letter case does not matter.
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Disk;

    fn machine(id: &str, gib: u64) -> Candidate {
        Candidate {
            id: MachineId(id.into()),
            standing: Standing::Free,
            hardware: Some(Hardware {
                memory_bytes: gib << 30,
                cpu_cores: 8,
                disks: vec![Disk {
                    kind: "nvme".into(),
                    bytes: 100_000_000_000,
                    blank: true,
                    ..Disk::default()
                }],
                ..Hardware::default()
            }),
            labels: BTreeMap::new(),
            rack: String::new(),
        }
    }

    fn wish(least_gib: u64) -> Wish {
        let rules = Match {
            memory_bytes: Range {
                min: Some(least_gib << 30),
                max: None,
            },
            ..Match::default()
        };
        Wish {
            claim: ClaimId("lab/cp-0".into()),
            from: Source::Class("any".into(), Box::new(rules), BTreeSet::new()),
            avoid: BTreeSet::new(),
            spread: None,
            previous: None,
            held: BTreeSet::new(),
        }
    }

    #[test]
    fn the_tightest_fit_wins_and_the_previous_box_comes_before_it() {
        let pool = [machine("b1", 64), machine("b2", 16), machine("b3", 32)];
        let pick = choose(&wish(8), &pool).unwrap();
        assert_eq!(
            (pick.id.0.as_str(), pick.fit.as_str()),
            ("b2", "best of 3 free")
        );
        let again = Wish {
            previous: Some(MachineId("b1".into())),
            ..wish(8)
        };
        assert_eq!(choose(&again, &pool).unwrap().id.0, "b1");
        let mut used = machine("b1", 64);
        if let Some(h) = &mut used.hardware {
            h.disks[0].blank = false;
        }
        let pool = [used, machine("b2", 16)];
        assert_eq!(
            choose(&again, &pool).unwrap().id.0,
            "b2",
            "clean comes first"
        );
    }

    #[test]
    fn a_shortage_names_holders_and_near_misses_nearest_first() {
        let mut held = machine("b1", 16);
        held.standing = Standing::Claimed(ClaimId("solo/cp".into()));
        let mut fresh = machine("b2", 16);
        fresh.standing = Standing::Unaccepted;
        let mut wiping = machine("b3", 16);
        wiping.standing = Standing::Busy("wiping".into());
        let mut unknown = machine("b5", 0);
        unknown.hardware = None;
        let pool = [unknown, machine("b4", 4), fresh, wiping, held];
        insta::assert_snapshot!(choose(&wish(8), &pool).unwrap_err(), @"2 free; b1 is held by solo/cp; b3 is wiping; b2 is not accepted; b4 fails memory 4 GiB < 8 GiB; b5 fails inspection: its hardware is not known yet");
    }

    #[test]
    fn siblings_spread_over_racks_and_soft_holds_are_taken_last() {
        let mut a = machine("b1", 16);
        a.rack = "r1".into();
        let mut b = machine("b2", 64);
        b.rack = "r2".into();
        let spread = Wish {
            spread: Some(BTreeMap::from([("r1".to_owned(), 1)])),
            ..wish(8)
        };
        let pool = [a, b];
        assert_eq!(choose(&spread, &pool).unwrap().id.0, "b2");
        let held = Wish {
            held: BTreeSet::from([MachineId("b2".into())]),
            ..spread
        };
        assert_eq!(choose(&held, &pool).unwrap().id.0, "b1");
        let all_held = Wish {
            held: BTreeSet::from([MachineId("b1".into()), MachineId("b2".into())]),
            ..held
        };
        assert_eq!(
            choose(&all_held, &pool).unwrap().id.0,
            "b2",
            "a hold denies nothing"
        );
    }

    #[test]
    fn rules_on_labels_disks_and_words() {
        let hardware = machine("b", 16).hardware.unwrap();
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let label = |key: &str, any_of: &[&str], sense| LabelRule {
            key: key.into(),
            any_of: any_of.iter().map(|s| (*s).to_owned()).collect(),
            sense,
        };
        let holds = |rules: Match| misses(&rules, Some(&hardware), &labels).is_empty();
        let with = |rule| Match {
            labels: vec![rule],
            ..Match::default()
        };
        assert!(holds(with(label("zone", &["b", "a"], Sense::Must))));
        assert!(holds(with(label("zone", &[], Sense::Must))));
        assert!(!holds(with(label("zone", &["a"], Sense::MustNot))));
        assert!(holds(with(label("gone", &[], Sense::MustNot))));
        let two = Match {
            disks: vec![DiskRule {
                kind: "nvme".into(),
                count: Range {
                    min: Some(2),
                    max: None,
                },
                ..DiskRule::default()
            }],
            ..Match::default()
        };
        assert!(!holds(two));
        assert!(glob("Dell*", "dell inc.") && glob("a?c*", "abcd") && !glob("a?c", "abd"));
        assert!(glob("*", "") && !glob("?", ""));
    }
}
