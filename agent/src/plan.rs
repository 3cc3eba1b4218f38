//! What exactly an erase will write, decided before anything is written. Pure.
//!
//! Promise: a plan writes nothing outside the disk, and for [`EraseScope::StaleTalos`] on a disk that holds something else, not one
//! byte of the other partitions. The tables go last: until then a machine that loses its power still shows what it held.

use metal_proto::metal::v1::EraseScope;

use crate::gpt::{Rewritten, Table};
use crate::survey::{Partition, Survey, TalosLabel};

/// How much of both ends of the disk and of every partition goes.
pub(crate) const END: u64 = 2 << 20;

/// A byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// The writes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Zeroed first.
    pub(crate) content: Vec<Extent>,
    /// Zeroed when `content` is on the medium: the disk's ends with its tables.
    pub(crate) tables: Vec<Extent>,
    /// Told unused at last; a bonus.
    pub(crate) discard: Vec<Extent>,
    /// The table without Talos's entries, where the disk holds something else.
    pub(crate) rewrite: Option<Rewritten>,
    /// What the disk must look like afterwards.
    pub(crate) after: After,
}

/// What the survey after the erase must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing at all.
    Blank,
    /// No Talos partition.
    NoTalos,
}

/// Why there can be no plan; the order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the order does not say what to erase")]
    NoScope,
    #[error(
        "its GPT is damaged, so that stale Talos partitions cannot be removed beside others; allow the whole disk to be wiped"
    )]
    Unsound,
    #[error(
        "its two GPT copies disagree, so that stale Talos partitions cannot be removed beside others; allow the whole disk to be wiped"
    )]
    Disagree,
    #[error(
        "partition {talos} of Talos overlaps partition {other}, which must be kept; allow the whole disk to be wiped"
    )]
    Overlap { talos: u32, other: u32 },
}

impl Plan {
    pub(crate) fn make(survey: &Survey, scope: EraseScope, block: u64) -> Result<Self, PlanError> {
        match scope {
            EraseScope::Unspecified => Err(PlanError::NoScope),
            EraseScope::Quick => Ok(quick(survey, block)),
            EraseScope::Full => Ok(full(survey)),
            EraseScope::StaleTalos => stale(survey, block),
        }
    }

    /// Everything that must read as zero afterwards.
    pub(crate) fn zeroed(&self) -> impl Iterator<Item = Extent> + '_ {
        self.content.iter().chain(&self.tables).copied()
    }
}

fn quick(survey: &Survey, block: u64) -> Plan {
    let size = survey.bytes;
    let mut content = Vec::new();
    for partition in &survey.partitions {
        content.extend(partition_extents(
            partition,
            TalosLabel::read(&partition.label),
        ));
    }
    content.extend(around(&survey.marks));
    let mut tables = ends(0, size);
    for table in &survey.tables {
        tables.extend(table.extents().into_iter().map(|(first, bytes)| Extent {
            first,
            end: first + bytes,
        }));
        // A copy that stands elsewhere (the disk grew) would be found again by tools that follow this pointer.
        if let Some(first) = table.other_lba.checked_mul(table.block) {
            tables.push(Extent {
                first,
                end: first.saturating_add(table.block),
            });
        }
    }
    let tables = merge(tables, block, size);
    Plan {
        content: subtract(&merge(content, block, size), &tables),
        tables,
        discard: vec![Extent {
            first: 0,
            end: size,
        }],
        rewrite: None,
        after: After::Blank,
    }
}

fn full(survey: &Survey) -> Plan {
    let size = survey.bytes;
    let whole = [Extent {
        first: 0,
        end: size,
    }];
    let tables = merge(ends(0, size), 1, size);
    Plan {
        content: subtract(&whole, &tables),
        tables,
        discard: whole.to_vec(),
        rewrite: None,
        after: After::Blank,
    }
}

fn stale(survey: &Survey, block: u64) -> Result<Plan, PlanError> {
    let mut stale = Vec::new();
    let mut kept = Vec::new();
    for partition in &survey.partitions {
        match survey.talos_label(partition) {
            Some(label) => stale.push((partition, label)),
            None => kept.push(partition),
        }
    }
    if stale.is_empty() {
        // Nothing of Talos: nothing to do, and that is what was asked for.
        let none = Vec::new();
        return Ok(Plan {
            content: none.clone(),
            tables: none.clone(),
            discard: none,
            rewrite: None,
            after: After::NoTalos,
        });
    }
    if kept.is_empty() {
        return Ok(quick(survey, block));
    }
    for (talos, _) in &stale {
        if let Some(other) = kept
            .iter()
            .find(|p| p.first < talos.end() && talos.first < p.end())
        {
            return Err(PlanError::Overlap {
                talos: talos.number,
                other: other.number,
            });
        }
    }
    let table = trusted_table(survey)?;
    let numbers: Vec<u32> = stale
        .iter()
        .map(|(partition, _)| partition.number)
        .collect();
    let content = stale
        .iter()
        .flat_map(|(partition, label)| partition_extents(partition, Some(*label)));
    let discard = stale.iter().map(|(partition, _)| Extent {
        first: partition.first,
        end: partition.end(),
    });
    Ok(Plan {
        content: merge(content.collect(), table.block, survey.bytes),
        tables: Vec::new(),
        discard: merge(discard.collect(), table.block, survey.bytes),
        rewrite: Some(table.without(&numbers)),
        after: After::NoTalos,
    })
}

/// The table to write anew: sound, its other copy inside the disk, and not contradicted by a sound other copy.
fn trusted_table(survey: &Survey) -> Result<&Table, PlanError> {
    let sound: Vec<&Table> = survey
        .tables
        .iter()
        .filter(|table| {
            table.sound && table.other_lba > 0 && table.other_lba < survey.bytes / table.block
        })
        .collect();
    let table = *sound.first().ok_or(PlanError::Unsound)?;
    if sound
        .iter()
        .any(|other| other.raw_entries() != table.raw_entries() || other.block != table.block)
    {
        return Err(PlanError::Disagree);
    }
    // Both copies' places must be the usual ones: blocks 1… and the last ones; a table elsewhere could lie inside a partition.
    let rewritten = table.without(&[]);
    let tables = [&rewritten.primary, &rewritten.backup]
        .into_iter()
        .flat_map(|side| {
            [&side.header, &side.entries].map(|(first, bytes)| Extent {
                first: *first,
                end: first + bytes.len() as u64,
            })
        });
    for extent in tables {
        let in_partition = survey
            .partitions
            .iter()
            .any(|p| p.first < extent.end && extent.first < p.end());
        if in_partition || extent.end > survey.bytes {
            return Err(PlanError::Unsound);
        }
    }
    Ok(table)
}

/// META, STATE, BOOT and EFI (and the tiny BIOS) in full; both ends of everything else, and every signature in it.
fn partition_extents(partition: &Partition, label: Option<TalosLabel>) -> Vec<Extent> {
    match label {
        Some(
            TalosLabel::Meta
            | TalosLabel::State
            | TalosLabel::Boot
            | TalosLabel::Efi
            | TalosLabel::Bios,
        ) => {
            vec![Extent {
                first: partition.first,
                end: partition.end(),
            }]
        }
        Some(TalosLabel::Ephemeral) | None => {
            let mut extents = ends(partition.first, partition.end());
            extents.extend(around(&partition.marks).into_iter().map(|extent| Extent {
                first: extent.first.max(partition.first),
                end: extent.end.min(partition.end()),
            }));
            extents
        }
    }
}

fn ends(first: u64, end: u64) -> Vec<Extent> {
    vec![
        Extent {
            first,
            end: end.min(first + END),
        },
        Extent {
            first: first.max(end.saturating_sub(END)),
            end,
        },
    ]
}

/// The 4 KiB blocks that a signature touches.
fn around(marks: &[(u64, u64)]) -> Vec<Extent> {
    marks
        .iter()
        .map(|(offset, bytes)| Extent {
            first: offset & !4095,
            end: (offset + bytes).next_multiple_of(4096),
        })
        .collect()
}

/// Sorted, joined, widened to whole blocks, cut to the disk.
fn merge(extents: Vec<Extent>, block: u64, size: u64) -> Vec<Extent> {
    let mut wide: Vec<Extent> = extents
        .into_iter()
        .map(|extent| Extent {
            first: extent.first - extent.first % block,
            end: extent.end.min(size).next_multiple_of(block).min(size),
        })
        .filter(|extent| extent.first < extent.end)
        .collect();
    wide.sort_unstable();
    let mut joined: Vec<Extent> = Vec::new();
    for extent in wide {
        match joined.last_mut() {
            Some(last) if extent.first <= last.end => last.end = last.end.max(extent.end),
            _ => joined.push(extent),
        }
    }
    joined
}

/// What of `from` is not in `remove`; both sorted and joined.
fn subtract(from: &[Extent], remove: &[Extent]) -> Vec<Extent> {
    let mut left = Vec::new();
    for extent in from {
        let mut first = extent.first;
        for hole in remove
            .iter()
            .filter(|hole| hole.first < extent.end && hole.end > extent.first)
        {
            if first < hole.first {
                left.push(Extent {
                    first,
                    end: hole.first,
                });
            }
            first = first.max(hole.end);
        }
        if first < extent.end {
            left.push(Extent {
                first,
                end: extent.end,
            });
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent() -> impl Strategy<Value = Extent> {
        (0_u64..500, 0_u64..60).prop_map(|(first, length)| Extent {
            first,
            end: first + length,
        })
    }

    proptest! {
        #[test]
        fn extents_are_sets_of_bytes(a in prop::collection::vec(extent(), 0..8), b in prop::collection::vec(extent(), 0..8)) {
            let covers = |set: &[Extent], byte: u64| set.iter().any(|e| e.first <= byte && byte < e.end);
            let (one, two) = (merge(a.clone(), 1, 512), merge(b, 1, 512));
            let left = subtract(&one, &two);
            for byte in 0..600 {
                prop_assert_eq!(covers(&one, byte), covers(&a, byte) && byte < 512);
                prop_assert_eq!(covers(&left, byte), covers(&one, byte) && !covers(&two, byte));
            }
            let blocks = merge(a, 8, 512);
            prop_assert!(blocks.iter().all(|e| e.first % 8 == 0 && e.end % 8 == 0));
        }
    }
}
