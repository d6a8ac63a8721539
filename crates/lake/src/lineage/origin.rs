//! Where one column of an intermediate result comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Unnest;

use super::model::{ColumnRef, IndirectKind, SourceKind};
use super::text;

/// A column that decides, and on what.
pub(super) type Influence = (ColumnRef, IndirectKind);

/// How a source reaches a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) kind: SourceKind,
    /// The SQL of the branch the source came through, fixed where branches with different SQL meet.
    pub(super) expression: Option<String>,
}

/// Where one column comes from. The default is a column that comes from nowhere, as a literal does.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) sources: BTreeMap<ColumnRef, Reach>,
    /// What decides on this column alone. What decides on whole rows is kept with the relation.
    pub(super) influences: BTreeSet<Influence>,
    /// The fields of a struct that the query itself puts together.
    fields: Option<BTreeMap<String, Origin>>,
    /// The expression that computes the column, in terms of source columns.
    pub(super) definition: Option<Arc<Expr>>,
}

impl Origin {
    /// A column of a dataset, as it is; `qualifier` is how its SQL names the dataset.
    pub(super) fn of_column(dataset: &str, name: &str, qualifier: Option<TableReference>) -> Self {
        let source = ColumnRef { dataset: dataset.to_owned(), column: name.to_owned() };
        let reach = Reach { kind: SourceKind::Identity, expression: None };
        let definition = Arc::new(Expr::Column(Column::new(qualifier, name)));
        Self { sources: BTreeMap::from([(source, reach)]), definition: Some(definition), ..Self::default() }
    }

    /// A column that is decided on, but takes its value from nowhere.
    pub(super) fn of_influences(influences: BTreeSet<Influence>) -> Self {
        Self { influences, ..Self::default() }
    }

    /// A struct of these fields.
    pub(super) fn of_fields(fields: BTreeMap<String, Origin>) -> Self {
        let mut whole = Self::default();
        for field in fields.values() {
            whole.absorb(field.clone());
        }
        Self { fields: Some(fields), ..whole.raised(SourceKind::Transformation) }
    }

    /// Adds what another operand of the same expression comes from.
    pub(super) fn absorb(&mut self, other: Origin) {
        for (source, reach) in other.sources {
            match self.sources.get_mut(&source) {
                Some(known) if known.kind >= reach.kind => {}
                _ => drop(self.sources.insert(source, reach)),
            }
        }
        self.influences.extend(other.influences);
    }

    /// The origin after its value went through a step of `kind`.
    #[must_use]
    pub(super) fn raised(self, kind: SourceKind) -> Self {
        let raise = |(source, reach): (ColumnRef, Reach)| (source, Reach { kind: reach.kind.max(kind), expression: None });
        Self { sources: self.sources.into_iter().map(raise).collect(), influences: self.influences, ..Self::default() }
    }

    /// The origin of the elements of this list.
    pub(super) fn element(self) -> Self {
        let unnested = |list: &Arc<Expr>| Arc::new(Expr::Unnest(Unnest::new(list.as_ref().clone())));
        let definition = self.definition.as_ref().map(unnested);
        Self { definition, ..self.raised(SourceKind::Transformation) }
    }

    /// The origin of a field of this struct.
    pub(super) fn field(mut self, name: &str) -> Self {
        if let Some(field) = self.fields.as_mut().and_then(|fields| fields.remove(name)) {
            return field;
        }
        let step = |(mut source, reach): (ColumnRef, Reach)| {
            // Only a struct that arrives as it is still has the fields of its source.
            if reach.kind == SourceKind::Identity {
                source.column = format!("{}.{name}", source.column);
            }
            (source, Reach { expression: None, ..reach })
        };
        Self { sources: self.sources.into_iter().map(step).collect(), influences: self.influences, ..Self::default() }
    }

    /// The origin of the output column `name` that takes its value from this branch or from another.
    #[must_use]
    pub(super) fn or(mut self, mut other: Origin, name: &str) -> Self {
        self.settle();
        other.settle();
        let fields = match (self.fields.take(), other.fields.take()) {
            (Some(mine), Some(theirs)) if mine.keys().eq(theirs.keys()) => Some(either_field(mine, theirs)),
            _ => None,
        };
        self.absorb(other);
        Self { fields, definition: Some(Arc::new(Expr::Column(Column::from_name(name)))), ..self }
    }

    /// Fixes the SQL of every source that was not taken as it is.
    pub(super) fn settle(&mut self) {
        let mut sql = None;
        for reach in self.sources.values_mut() {
            if reach.kind != SourceKind::Identity && reach.expression.is_none() {
                let text = sql.get_or_insert_with(|| self.definition.as_deref().map(text::sql));
                reach.expression.clone_from(text);
            }
        }
    }

    /// What the column has influence on where its value only decides.
    pub(super) fn deciding(self, kind: IndirectKind) -> impl Iterator<Item = Influence> {
        self.sources.into_keys().map(move |source| (source, kind)).chain(self.influences)
    }

    /// Whether both come from the same columns in the same way, whatever their SQL.
    pub(super) fn same_reach(&self, other: &Origin) -> bool {
        let kinds = |origin: &Origin| -> Vec<(ColumnRef, SourceKind)> {
            origin.sources.iter().map(|(source, reach)| (source.clone(), reach.kind)).collect()
        };
        kinds(self) == kinds(other) && self.influences == other.influences
    }
}

fn either_field(mine: BTreeMap<String, Origin>, mut theirs: BTreeMap<String, Origin>) -> BTreeMap<String, Origin> {
    let either = |(name, field): (String, Origin)| {
        let other = theirs.remove(&name).unwrap_or_default();
        let field = field.or(other, &name);
        (name, field)
    };
    mine.into_iter().map(either).collect()
}
