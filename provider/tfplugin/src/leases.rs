//! What is open and must not outlive the process.
//!
//! Hosts skip the closing of an ephemeral resource where something that used it failed or was stopped (measured on Terraform 1.11 and
//! 1.14). They end the process all the same, and what is open then is closed then.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names one opening in this process; kept in its private texts.
pub(crate) const KEY: &str = "tfplugin:lease";

/// Ephemeral resources that were opened and not closed.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    open: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    type_name: String,
    private: Vec<u8>,
}

impl Leases {
    /// A name for the next opening.
    pub(crate) fn name(&self) -> String {
        let mut book = self.book();
        book.last += 1;
        book.last.to_string()
    }

    /// It is open, or was renewed.
    pub(crate) fn opened(&self, lease: String, type_name: &str, private: &[u8]) {
        let entry = Entry {
            type_name: type_name.to_owned(),
            private: private.to_vec(),
        };
        self.book().open.insert(lease, entry);
    }

    /// It is open, and its private texts are these now.
    pub(crate) fn renewed(&self, lease: &str, private: &[u8]) {
        if let Some(entry) = self.book().open.get_mut(lease) {
            entry.private = private.to_vec();
        }
    }

    /// Somebody closes it.
    pub(crate) fn closing(&self, lease: &str) {
        self.book().open.remove(lease);
    }

    /// Takes everything that is open: type name and private texts.
    pub(crate) fn take_all(&self) -> Vec<(String, Vec<u8>)> {
        let open = std::mem::take(&mut self.book().open);
        open.into_values()
            .map(|e| (e.type_name, e.private))
            .collect()
    }

    /// A panic while the lock is held leaves plain data behind, which stays usable.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_open_is_left() {
        let leases = Leases::default();
        let names = [leases.name(), leases.name(), leases.name()];
        for name in &names {
            leases.opened(name.clone(), "t", b"old");
        }
        leases.closing(&names[1]);
        leases.renewed(&names[1], b"new");
        leases.renewed(&names[2], b"new");
        let left = [
            ("t".to_owned(), b"old".to_vec()),
            ("t".to_owned(), b"new".to_vec()),
        ];
        assert_eq!(leases.take_all(), left);
        assert_eq!(leases.take_all(), []);
    }
}
