//! One bounded story per machine.

use bootd_core::id::{Epoch, MachineId, Timestamp};
use sqlx::{Row as _, SqliteConnection};

use super::{Result, Store, sql, unsql};

/// Lines kept per machine.
const LINES_MAX: i64 = 2000;

/// A line of a machine's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Grows by one per machine.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `phase`, `dhcp`, `tftp`, `http`, `agent`, `bmc`, `talos`, `console`, `api`.
    pub source: String,
    /// For people, redacted.
    pub text: String,
    /// In which epoch.
    pub epoch: Epoch,
    /// Needs a person's eye.
    pub alarm: bool,
}

/// A line to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewLine {
    pub(crate) source: &'static str,
    pub(crate) text: String,
    pub(crate) alarm: bool,
}

impl NewLine {
    pub(crate) fn new(source: &'static str, text: impl Into<String>) -> Self {
        Self {
            source,
            text: text.into(),
            alarm: false,
        }
    }

    pub(crate) fn alarm(source: &'static str, text: impl Into<String>) -> Self {
        Self {
            source,
            text: text.into(),
            alarm: true,
        }
    }
}

/// Appends a line unless the newest one says the same; drops the oldest above the bound.
pub(super) async fn append(
    db: &mut SqliteConnection,
    machine: &MachineId,
    epoch: Epoch,
    at: Timestamp,
    line: &NewLine,
) -> Result<()> {
    let last = sqlx::query(
        "SELECT seq, source, text, epoch FROM timeline WHERE machine = ? ORDER BY seq DESC LIMIT 1",
    )
    .bind(&machine.0)
    .fetch_optional(&mut *db)
    .await?;
    let mut seq = 1;
    if let Some(row) = last {
        let same = row.get::<&str, _>(1) == line.source
            && row.get::<&str, _>(2) == line.text
            && row.get::<i64, _>(3) == sql(epoch.0);
        if same {
            return Ok(());
        }
        seq = row.get::<i64, _>(0) + 1;
    }
    sqlx::query(
        "INSERT INTO timeline (machine, seq, at, source, text, epoch, alarm) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&machine.0)
    .bind(seq)
    .bind(sql(at.0))
    .bind(line.source)
    .bind(&line.text)
    .bind(sql(epoch.0))
    .bind(i64::from(line.alarm))
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM timeline WHERE machine = ? AND seq <= ?")
        .bind(&machine.0)
        .bind(seq - LINES_MAX)
        .execute(db)
        .await?;
    Ok(())
}

impl Store {
    /// Lines after `after`, oldest first.
    pub async fn timeline(&self, machine: &MachineId, after: u64) -> Result<Vec<Line>> {
        let rows = sqlx::query(
            "SELECT seq, at, source, text, epoch, alarm FROM timeline WHERE machine = ? AND seq > ? ORDER BY seq",
        )
        .bind(&machine.0)
        .bind(sql(after))
        .fetch_all(&self.inner.pool)
        .await?;
        Ok(rows
            .iter()
            .map(|row| Line {
                seq: unsql(row.get(0)),
                at: Timestamp(unsql(row.get(1))),
                source: row.get(2),
                text: row.get(3),
                epoch: Epoch(unsql(row.get(4))),
                alarm: row.get::<i64, _>(5) != 0,
            })
            .collect())
    }
}
