//! The store: SQLite behind one door. The only room that speaks SQL.
//!
//! Promises: every change of a machine is one transaction; a change bumps [`Store::changed`]; secrets are sealed with a key that
//! is not in the database; only [`Store::commit`] stores a phase, and it refuses when the epoch moved meanwhile.
//! Deliberately not here: decisions (the core's), BMCs, sockets.

mod claims;
mod desk;
mod docs;
mod hardware;
mod machines;
mod orders;
mod registration;
mod seal;
mod servers;
mod timeline;

#[cfg(test)]
mod story;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bootd_core::id::{MachineId, Timestamp};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use tokio::sync::{Notify, watch};

pub use claims::{ClaimRow, Taken};
pub use docs::{Doc, Kind};
pub use hardware::{disk_to_proto, hardware_from_proto, hardware_to_proto};
#[cfg(test)]
pub(crate) use machines::Journal;
pub use machines::{Afterwards, Identity, Record};
pub use registration::{Mode, Registration};
pub use seal::{Seal, Unsealable, hex};
pub use servers::ServerRow;
pub use timeline::Line;

/// Why the store could not do it. None of these means "gone".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The database could not be brought to this version.
    #[error("the database cannot be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row cannot be read by this version.
    #[error("a row of {0} is damaged or from a newer bootd")]
    Damaged(&'static str),
    /// A sealed value cannot be opened.
    #[error(transparent)]
    Sealed(#[from] Unsealable),
}

/// Answers of this room.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    /// SQLite has one writer; waiting here is cheaper than its busy loop.
    writer: tokio::sync::Mutex<()>,
    seal: Seal,
    changed: watch::Sender<u64>,
    population: watch::Sender<u64>,
    wakers: Mutex<BTreeMap<MachineId, Arc<Notify>>>,
    registration: Registration,
}

impl Store {
    /// Opens or makes the database, and migrates it.
    pub async fn open(url: &str, seal: Seal, registration: Registration) -> Result<Self> {
        let options = url
            .parse::<SqliteConnectOptions>()?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                writer: tokio::sync::Mutex::new(()),
                seal,
                changed: watch::Sender::new(0),
                population: watch::Sender::new(0),
                wakers: Mutex::default(),
                registration,
            }),
        })
    }

    /// The URL of the database of a state directory.
    pub fn default_url(state_dir: &Path) -> String {
        format!("sqlite://{}", state_dir.join("bootd.sqlite").display())
    }

    /// A number that grows with every change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The sealing key.
    pub fn seal(&self) -> &Seal {
        &self.inner.seal
    }

    /// Who may register.
    pub fn registration(&self) -> &Registration {
        &self.inner.registration
    }

    fn bump(&self) {
        self.inner
            .changed
            .send_modify(|number| *number = number.wrapping_add(1));
    }

    /// A number that grows when a machine comes or goes.
    pub fn population(&self) -> watch::Receiver<u64> {
        self.inner.population.subscribe()
    }

    fn repopulate(&self) {
        self.inner
            .population
            .send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Wakes whoever tends this machine.
    pub(crate) fn waker(&self, id: &MachineId) -> Arc<Notify> {
        let mut wakers = self.inner.wakers.lock().unwrap_or_else(|e| e.into_inner());
        Arc::clone(wakers.entry(id.clone()).or_default())
    }

    /// Runs `work` in one write transaction and tells the watchers.
    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        let _turn = self.inner.writer.lock().await;
        let mut tx = self.inner.pool.begin().await?;
        let value = work(&mut tx).await?;
        tx.commit().await?;
        self.bump();
        Ok(value)
    }
}

/// The wall clock. Cores get it as an argument.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// SQLite's integers are signed.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
