//! Claims: one row per claim and per machine.

use bootd_core::id::{ClaimId, MachineId};
use bootd_core::lifecycle::{Claim, Goal, Hold, Phase};
use metal_proto::metal::v1::ClaimConfig;
use prost::Message as _;
use sqlx::Row as _;

use super::machines;
use super::{Result, Store, StoreError, now, sql, unsql};

/// A claim as stored.
#[derive(Debug, Clone)]
pub struct ClaimRow {
    /// The caller's words.
    pub config: ClaimConfig,
    /// The box.
    pub machine: MachineId,
    /// Grows each time this name is claimed.
    pub generation: u64,
    /// Why this box, for people.
    pub fit: String,
}

/// How taking a box ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is the claim's.
    Yes,
    /// Somebody else was first, or it is not at rest.
    Lost,
}

fn row_of(row: &sqlx::sqlite::SqliteRow) -> Result<ClaimRow> {
    Ok(ClaimRow {
        config: ClaimConfig::decode(row.get::<&[u8], _>(0))
            .map_err(|_| StoreError::Damaged("claims"))?,
        machine: MachineId(row.get(1)),
        generation: unsql(row.get(2)),
        fit: row.get(3),
    })
}

impl Store {
    /// One claim.
    pub async fn claim(&self, name: &str) -> Result<Option<ClaimRow>> {
        let row = sqlx::query("SELECT config, machine, generation, fit FROM claims WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await?;
        row.as_ref().map(row_of).transpose()
    }

    /// All claims.
    pub async fn claims(&self) -> Result<Vec<ClaimRow>> {
        let rows = sqlx::query("SELECT config, machine, generation, fit FROM claims ORDER BY name")
            .fetch_all(&self.inner.pool)
            .await?;
        rows.iter().map(row_of).collect()
    }

    /// The box that a slot had last.
    pub async fn previous(&self, name: &str) -> Result<Option<MachineId>> {
        let row = sqlx::query("SELECT machine FROM slots WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await?;
        Ok(row.map(|r| MachineId(r.get(0))))
    }

    /// Takes a box for a new claim, or changes the words of the claim that has it. One transaction; the row is unique per machine.
    pub(crate) async fn take(
        &self,
        config: &ClaimConfig,
        machine: &MachineId,
        fit: &str,
        claim: Claim,
    ) -> Result<Taken> {
        let taken = self
            .write(async |db| {
            let Some(mut record) = machines::load(db, machine).await? else {
                return Ok(Taken::Lost);
            };
            let m = &mut record.machine;
            let id = ClaimId(config.name.clone());
            let mut notes = machines::Journal::default();
            match &mut m.claim {
                Some(held) if held.id == id && held.hold == Hold::Held => {
                    held.wipe = claim.wipe;
                    held.allow_wipe = claim.allow_wipe;
                    held.on_wipe_failure = claim.on_wipe_failure;
                    sqlx::query("UPDATE claims SET config = ? WHERE name = ?")
                        .bind(config.encode_to_vec())
                        .bind(&config.name)
                        .execute(&mut *db)
                        .await?;
                }
                Some(_) => return Ok(Taken::Lost),
                None if m.phase != Phase::Available || m.goal != Goal::Pool => {
                    return Ok(Taken::Lost);
                }
                None => {
                    m.claim = Some(claim);
                    m.want_again(now());
                    let generation = generation(db, &config.name).await? + 1;
                    sqlx::query(
                        "INSERT INTO slots (name, generation, machine) VALUES (?, ?, ?) \
                         ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, machine = excluded.machine",
                    )
                    .bind(&config.name)
                    .bind(sql(generation))
                    .bind(&machine.0)
                    .execute(&mut *db)
                    .await?;
                    sqlx::query("INSERT INTO claims (name, machine, generation, config, fit) VALUES (?, ?, ?, ?, ?)")
                        .bind(&config.name)
                        .bind(&machine.0)
                        .bind(sql(generation))
                        .bind(config.encode_to_vec())
                        .bind(fit)
                        .execute(&mut *db)
                        .await?;
                    notes.line("api", format!("claimed by {}", config.name));
                }
            }
            machines::journal(db, &record, &notes, now()).await?;
            machines::save(db, &record).await?;
            Ok(Taken::Yes)
        })
        .await?;
        self.waker(machine).notify_one();
        Ok(taken)
    }
}

async fn generation(db: &mut sqlx::SqliteConnection, name: &str) -> Result<u64> {
    let row = sqlx::query("SELECT generation FROM slots WHERE name = ?")
        .bind(name)
        .fetch_optional(db)
        .await?;
    Ok(row.map_or(0, |r| unsql(r.get(0))))
}
