//! Machines: one document each, their evidence, and the one commit of a phase.

use std::net::IpAddr;

use bootd_core::bmc::Bound;
use bootd_core::id::{Epoch, Mac, MachineId, Timestamp};
use bootd_core::lifecycle::facts::Fact;
use bootd_core::lifecycle::{
    Goal, Hold, Machine, Phase, Reason, Seen, describe, failure, leaves_dirty,
};
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, SqliteConnection};

use super::timeline::{self, NewLine};
use super::{Result, Store, StoreError, now, sql, unsql};

/// Facts kept per epoch; above it only evidence that moves a phase is kept.
const FACTS_MAX: usize = 400;

/// A machine and what the shell needs beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the core decides on.
    pub machine: Machine,
    /// How it is recognised.
    pub identity: Identity,
    /// Last address it spoke from.
    pub address: Option<IpAddr>,
    /// DHCP option 93 of its last request: 0 is BIOS.
    pub arch: Option<u16>,
    /// Extra kernel arguments, checked.
    pub boot_args: Vec<String>,
    /// What its BMC said of itself.
    #[serde(default)]
    pub bmc: Option<Bound>,
}

/// How a machine is recognised; at least one is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Boot NIC.
    pub mac: Option<Mac>,
    /// SMBIOS UUID, lower case.
    pub uuid: Option<String>,
    /// SMBIOS serial.
    pub serial: Option<String>,
}

impl Record {
    /// A machine just met.
    pub fn new(id: MachineId, identity: Identity, now: Timestamp) -> Self {
        Self {
            machine: Machine::new(id, now),
            identity,
            address: None,
            arch: None,
            boot_args: Vec::new(),
            bmc: None,
        }
    }

    /// The SMBIOS UUID that the agent found, lower case.
    pub fn smbios_uuid(&self) -> Option<String> {
        let hardware = &self.machine.report.as_ref()?.hardware;
        (!hardware.uuid.is_empty()).then(|| hardware.uuid.to_ascii_lowercase())
    }
}

/// What a change of one machine leaves behind, collected while it is made.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) lines: Vec<NewLine>,
    pub(crate) facts: Vec<Fact>,
}

impl Journal {
    pub(crate) fn line(&mut self, source: &'static str, text: impl Into<String>) {
        self.lines.push(NewLine::new(source, text));
    }

    pub(crate) fn alarm(&mut self, source: &'static str, text: impl Into<String>) {
        self.lines.push(NewLine::alarm(source, text));
    }

    pub(crate) fn fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }
}

pub(super) async fn load(db: &mut SqliteConnection, id: &MachineId) -> Result<Option<Record>> {
    let row = sqlx::query("SELECT doc FROM machines WHERE id = ?")
        .bind(&id.0)
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut record: Record =
        serde_json::from_str(row.get(0)).map_err(|_| StoreError::Damaged("machines"))?;
    let facts =
        sqlx::query("SELECT at, fact FROM facts WHERE machine = ? AND epoch = ? ORDER BY seq")
            .bind(&id.0)
            .bind(sql(record.machine.epoch.0))
            .fetch_all(db)
            .await?;
    for row in facts {
        record.machine.facts.push(Seen {
            at: Timestamp(unsql(row.get(0))),
            fact: serde_json::from_str(row.get(1)).map_err(|_| StoreError::Damaged("facts"))?,
        });
    }
    Ok(Some(record))
}

pub(super) async fn save(db: &mut SqliteConnection, record: &Record) -> Result<()> {
    let doc = serde_json::to_string(record).map_err(|_| StoreError::Damaged("machines"))?;
    sqlx::query(
        "INSERT INTO machines (id, mac, uuid, serial, doc, smbios) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET mac = excluded.mac, uuid = excluded.uuid, serial = excluded.serial, \
         doc = excluded.doc, smbios = excluded.smbios",
    )
    .bind(&record.machine.id.0)
    .bind(record.identity.mac.map(|m| m.to_string()))
    .bind(&record.identity.uuid)
    .bind(&record.identity.serial)
    .bind(doc)
    .bind(record.smbios_uuid())
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn journal(
    db: &mut SqliteConnection,
    record: &Record,
    journal: &Journal,
    at: Timestamp,
) -> Result<()> {
    let m = &record.machine;
    for line in &journal.lines {
        timeline::append(db, &m.id, m.epoch, at, line).await?;
    }
    let mut last = m.facts.last().map(|s| s.fact.clone());
    for fact in &journal.facts {
        // Firmware repeats itself; the first time is what counts.
        if last.as_ref() == Some(fact) || (m.facts.len() > FACTS_MAX && chatter(fact)) {
            continue;
        }
        let text = serde_json::to_string(fact).map_err(|_| StoreError::Damaged("facts"))?;
        sqlx::query("INSERT INTO facts (machine, epoch, at, fact) VALUES (?, ?, ?, ?)")
            .bind(&m.id.0)
            .bind(sql(m.epoch.0))
            .bind(sql(at.0))
            .bind(text)
            .execute(&mut *db)
            .await?;
        let line = NewLine {
            source: source(fact),
            text: describe(fact),
            alarm: alarming(fact),
        };
        timeline::append(db, &m.id, m.epoch, at, &line).await?;
        last = Some(fact.clone());
    }
    Ok(())
}

fn chatter(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::DhcpOffered { .. }
            | Fact::IpxeOffered
            | Fact::BootFileRequested { .. }
            | Fact::BootFileServed { .. }
            | Fact::TokenRefused { .. }
            | Fact::Talos(bootd_core::lifecycle::facts::TalosFact::Status { .. })
    )
}

fn source(fact: &Fact) -> &'static str {
    match fact {
        Fact::DhcpOffered { .. } | Fact::IpxeOffered => "dhcp",
        Fact::BootFileRequested { .. } | Fact::BootFileServed { .. } => "tftp",
        Fact::ScriptServed { .. }
        | Fact::KernelServed { .. }
        | Fact::InitrdServed { .. }
        | Fact::ConfigServed { .. }
        | Fact::TokenRefused { .. }
        | Fact::SecondRequester { .. } => "http",
        Fact::AgentReported | Fact::EraseProven | Fact::EraseFailed { .. } => "agent",
        Fact::Talos(_) => "talos",
        Fact::CommandLine { .. } => "console",
    }
}

fn alarming(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::TokenRefused { .. } | Fact::SecondRequester { .. } | Fact::EraseFailed { .. }
    )
}

impl Store {
    /// A machine with the evidence of its epoch.
    pub async fn machine(&self, id: &MachineId) -> Result<Option<Record>> {
        let mut db = self.inner.pool.acquire().await?;
        load(&mut db, id).await
    }

    /// All machines, without evidence.
    pub async fn machines(&self) -> Result<Vec<Record>> {
        let rows = sqlx::query("SELECT doc FROM machines ORDER BY id")
            .fetch_all(&self.inner.pool)
            .await?;
        rows.iter()
            .map(|row| {
                serde_json::from_str(row.get(0)).map_err(|_| StoreError::Damaged("machines"))
            })
            .collect()
    }

    /// The ids of all machines.
    pub async fn machine_ids(&self) -> Result<Vec<MachineId>> {
        let rows = sqlx::query("SELECT id FROM machines ORDER BY id")
            .fetch_all(&self.inner.pool)
            .await?;
        Ok(rows.iter().map(|r| MachineId(r.get(0))).collect())
    }

    /// The machine that one of these names; the MAC first, because UUIDs are sometimes shared.
    pub async fn find(&self, identity: &Identity) -> Result<Option<MachineId>> {
        let mut db = self.inner.pool.acquire().await?;
        find(&mut db, identity).await
    }

    /// Another machine that has one of these UUIDs, by report or by declaration.
    pub async fn other_with_uuid(
        &self,
        uuids: &[String; 3],
        not: &MachineId,
    ) -> Result<Option<MachineId>> {
        let [a, b, c] = uuids;
        let row = sqlx::query(
            "SELECT id FROM machines WHERE id <> ? AND (smbios IN (?, ?, ?) OR uuid IN (?, ?, ?)) ORDER BY id LIMIT 1",
        )
        .bind(&not.0)
        .bind(a)
        .bind(b)
        .bind(c)
        .bind(a)
        .bind(b)
        .bind(c)
        .fetch_optional(&self.inner.pool)
        .await?;
        Ok(row.map(|r| MachineId(r.get(0))))
    }

    /// Changes one machine in one transaction; `None` if there is no such machine.
    pub(crate) async fn change<T>(
        &self,
        id: &MachineId,
        work: impl FnOnce(&mut Record, &mut Journal) -> T,
    ) -> Result<Option<T>> {
        let value = self.write(async |db| change(db, id, work).await).await?;
        self.waker(id).notify_one();
        Ok(value)
    }

    /// Stores a phase: the only place. Refused (`false`) if the machine's epoch is not the one that was decided on.
    pub async fn commit(
        &self,
        id: &MachineId,
        decided_in: Epoch,
        phase: Phase,
        reason: &Reason,
    ) -> Result<bool> {
        self.write(async |db| {
            let Some(mut record) = load(db, id).await? else {
                return Ok(false);
            };
            if record.machine.epoch != decided_in {
                return Ok(false);
            }
            let at = now();
            enter(&mut record, phase, reason, at);
            let m = &record.machine;
            sqlx::query("DELETE FROM facts WHERE machine = ?")
                .bind(&id.0)
                .execute(&mut *db)
                .await?;
            // A quarantined box keeps the words of the claim that could not be wiped; the claim's name is free again.
            let quarantined = matches!(m.phase, Phase::Quarantined(_))
                && m.claim.as_ref().is_some_and(|c| c.hold == Hold::Releasing);
            if m.claim.is_none() || quarantined {
                sqlx::query("DELETE FROM claims WHERE machine = ?")
                    .bind(&id.0)
                    .execute(&mut *db)
                    .await?;
            }
            let line = NewLine {
                source: "phase",
                text: format!("{}: {reason}", m.phase),
                alarm: matches!(m.phase, Phase::Failed(_) | Phase::Quarantined(_)),
            };
            tracing::info!(machine = %m.id, epoch = m.epoch.0, phase = %m.phase, reason = reason.name(), "phase");
            timeline::append(db, id, m.epoch, at, &line).await?;
            save(db, &record).await?;
            Ok(true)
        })
        .await
    }

    /// Forgets a machine. Its story goes too, unless something of it should be known later.
    pub async fn forget(&self, id: &MachineId, story: Afterwards) -> Result<()> {
        self.write(async |db| {
            match &story {
                Afterwards::Nothing => {
                    sqlx::query("DELETE FROM timeline WHERE machine = ?")
                        .bind(&id.0)
                        .execute(&mut *db)
                        .await?;
                }
                Afterwards::Told(text) => {
                    if let Some(record) = load(db, id).await? {
                        let line = NewLine::alarm("api", text.clone());
                        timeline::append(db, id, record.machine.epoch, now(), &line).await?;
                    }
                }
            }
            for table in [
                "DELETE FROM machines WHERE id = ?",
                "DELETE FROM facts WHERE machine = ?",
                "DELETE FROM tokens WHERE machine = ?",
                "DELETE FROM addresses WHERE machine = ?",
                "DELETE FROM events WHERE machine = ?",
                "DELETE FROM claims WHERE machine = ?",
                "DELETE FROM servers WHERE name = ?",
            ] {
                sqlx::query(table).bind(&id.0).execute(&mut *db).await?;
            }
            Ok(())
        })
        .await?;
        self.repopulate();
        self.waker(id).notify_one();
        Ok(())
    }
}

/// What is left of a machine that is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Nothing,
    /// Its story, with this last line, for whoever declares the same name again.
    Told(String),
}

/// The consequences of a phase for the record: what the core cannot do because it is told in a decision only.
fn enter(record: &mut Record, phase: Phase, reason: &Reason, at: Timestamp) {
    let m = &mut record.machine;
    let failed = failure(m, &phase, reason, at);
    let contested = matches!(reason, Reason::SecondRequester);
    if phase == Phase::Available {
        m.dirty = leaves_dirty(m);
        m.contests = 0;
        let released = !matches!(m.phase, Phase::Inspecting | Phase::Discovered)
            && m.goal == Goal::Pool
            && m.claim.as_ref().is_some_and(|c| c.hold == Hold::Releasing);
        if released {
            m.claim = None;
            m.written.clear();
        }
    } else if contested {
        m.contests += 1;
    }
    m.enter(phase, reason.to_string(), at);
    m.failure = failed;
}

pub(super) async fn change<T>(
    db: &mut SqliteConnection,
    id: &MachineId,
    work: impl FnOnce(&mut Record, &mut Journal) -> T,
) -> Result<Option<T>> {
    let Some(mut record) = load(db, id).await? else {
        return Ok(None);
    };
    let mut notes = Journal::default();
    let value = work(&mut record, &mut notes);
    journal(db, &record, &notes, now()).await?;
    save(db, &record).await?;
    Ok(Some(value))
}

pub(super) async fn find(
    db: &mut SqliteConnection,
    identity: &Identity,
) -> Result<Option<MachineId>> {
    let questions = [
        (
            "SELECT id FROM machines WHERE mac = ?",
            identity.mac.map(|m| m.to_string()),
        ),
        (
            "SELECT id FROM machines WHERE uuid = ?",
            identity.uuid.clone(),
        ),
        (
            "SELECT id FROM machines WHERE serial = ?",
            identity.serial.clone(),
        ),
    ];
    for (question, value) in questions {
        let Some(value) = value else { continue };
        let rows = sqlx::query(question)
            .bind(value)
            .fetch_all(&mut *db)
            .await?;
        // Two machines of one UUID or serial: neither is meant.
        if let [row] = rows.as_slice() {
            return Ok(Some(MachineId(row.get(0))));
        }
    }
    Ok(None)
}
