//! How far a store has come with a table that it mirrors.

use deltalake::kernel::Transaction;

use crate::error::Result;
use crate::report::Strategy;
use crate::table::{Basis, Change, Progress, Scope, Snapshot, fingerprint};

/// The last version of a table that a store has acknowledged, kept in the table's own log.
#[derive(Debug, Clone)]
pub struct Mark {
    name: String,
}

impl Mark {
    /// Of the store `store`; `what` is what it holds of the table.
    pub fn new(store: &str, what: &str) -> Self {
        Self { name: format!("sink:{:016x}", fingerprint([store, what])) }
    }

    fn of(&self, workspace: &str) -> String {
        format!("{}@{workspace}", self.name)
    }

    /// The last version that the store has for all of `scope`.
    pub fn get(&self, progress: &Progress, scope: &Scope) -> Option<i64> {
        let feed = progress.get(&self.name);
        match scope {
            Scope::Workspace(own) => progress.get(&self.of(own.as_str())).max(feed),
            Scope::Feed => feed,
        }
    }

    /// Notes that the store has the version `table` of `scope`.
    ///
    /// # Errors
    /// Those of storage: the next run then sends once more what the store has.
    pub async fn advance(&self, table: &Snapshot, scope: &Scope, run_id: &str) -> Result<()> {
        let name = match scope {
            Scope::Workspace(own) => self.of(own.as_str()),
            Scope::Feed => self.name.clone(),
        };
        let transactions = vec![Transaction::new(name, table.version())];
        let change = Change { transactions, basis: Basis::Nothing, ..Default::default() };
        table.commit(change, Strategy::Append, run_id).await.map(|_| ())
    }
}
