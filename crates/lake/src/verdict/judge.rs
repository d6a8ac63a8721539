//! The one pass over a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;

use crate::error::{Error, ErrorKind, Result};
use crate::merge::{DELETE_COLUMN, MergeSpec, Sequence};
use crate::pipeline::Otherwise;
use crate::verdict::decimal::text_to_decimal;
use crate::verdict::evaluate::Evaluator;
use crate::verdict::{Judged, REASON_COLUMN, RowRules, SEQUENCE_COLUMN, Tally};
use crate::workspace_id::WORKSPACE_COLUMN;

/// The column of Bronze with what did not fit a record.
const RESCUED_COLUMN: &str = "_rescued";

/// Judges batches by the rules of one table, and counts.
#[derive(Debug, Clone)]
pub struct Judge {
    rules: RowRules,
    columns: Vec<Evaluator>,
    filter: Option<Evaluator>,
    delete_when: Option<Evaluator>,
    sequence: Option<Evaluator>,
    expectations: Vec<Evaluator>,
    table_schema: SchemaRef,
    quarantine_schema: SchemaRef,
    tally: Tally,
}

/// Rows of one batch as they are being judged.
struct Bench {
    /// Rows that have a workspace; the others are passed over and not counted. `None` for all.
    present: Option<NullBuffer>,
    /// Rows that are still in.
    live: Vec<bool>,
    deletes: Vec<bool>,
    /// Rows on the way to quarantine, with their reasons.
    reasons: BTreeMap<usize, Vec<String>>,
}

impl Bench {
    fn quarantine(&mut self, row: usize, reason: &str) {
        if !self.is_present(row) {
            return;
        }
        self.reasons.entry(row).or_default().push(reason.to_string());
    }

    fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.is_valid(row))
    }

    fn is_sound(&self, row: usize) -> bool {
        self.live[row] && !self.reasons.contains_key(&row)
    }
}

impl Judge {
    /// Prepares the expressions of `rules`.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] when an expression does not fit its schema.
    pub fn new(session: &SessionContext, rules: RowRules) -> Result<Self> {
        let source = |e: &Expr| Evaluator::new(session, e, &rules.source_schema);
        let check = |e: &Expr| Evaluator::new(session, e, &rules.check_schema);
        let columns = rules.columns.iter().map(|c| source(&c.expr)).collect::<Result<Vec<_>>>()?;
        let sequence = rules.own_sequence().map(check).transpose()?;
        let filter = rules.filter.as_ref().map(source).transpose()?;
        let delete_when = rules.delete_when.as_ref().map(source).transpose()?;
        let expectations = rules.expectations.iter().map(|e| check(&e.expr)).collect::<Result<Vec<_>>>()?;
        let table_schema = table_schema(&rules, sequence.as_ref());
        let quarantine_schema = quarantine_schema(&rules.source_schema);
        let mut tally = Tally::default();
        for expectation in &rules.expectations {
            tally.expectations.insert(expectation.name.clone(), Default::default());
        }
        Ok(Self { rules, columns, filter, delete_when, sequence, expectations, table_schema, quarantine_schema, tally })
    }

    /// The table's columns, without `workspace_id`.
    pub fn table_schema(&self) -> &SchemaRef {
        &self.table_schema
    }

    /// The quarantine's columns, without `workspace_id`.
    pub fn quarantine_schema(&self) -> &SchemaRef {
        &self.quarantine_schema
    }

    /// How the table is merged; `None` when it has no key and rows are only added.
    pub fn merge_spec(&self) -> Option<MergeSpec> {
        let key: Vec<_> = self.rules.key.iter().filter_map(|i| self.rules.columns.get(*i)).map(|c| c.name.clone()).collect();
        let sequence = match (&self.rules.sequence_by, self.rules.sequence_column()) {
            (None, _) => Sequence::Arrival,
            (Some(_), Some(column)) => Sequence::Column(column),
            (Some(_), None) => Sequence::Column(SEQUENCE_COLUMN.to_string()),
        };
        let merge_on_read = self.rules.merge_on_read;
        (!key.is_empty()).then(|| MergeSpec { columns: self.table_schema.clone(), key, sequence, merge_on_read })
    }

    /// Another judge by the same rules that has counted nothing.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut tally = Tally::default();
        self.rules.expectations.iter().for_each(|e| {
            tally.expectations.insert(e.name.clone(), Default::default());
        });
        Self { tally, ..self.clone() }
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Judges a batch of the input's schema. Rows without a workspace are passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the batch does not have the input's columns.
    pub fn judge(&mut self, batch: &RecordBatch) -> Result<Judged> {
        let rows = batch.num_rows();
        let present = batch.column_by_name(WORKSPACE_COLUMN).and_then(|c| c.nulls().filter(|n| n.null_count() > 0).cloned());
        let live = (0..rows).map(|row| present.as_ref().is_none_or(|p| p.is_valid(row))).collect();
        let mut bench = Bench { present, live, deletes: vec![false; rows], reasons: BTreeMap::new() };
        self.rescue(batch, &mut bench);
        self.filter(batch, &mut bench)?;
        if let Some(condition) = &self.delete_when {
            let (deletes, failed) = condition.holds(batch)?;
            bench.deletes = deletes;
            failed
                .into_iter()
                .filter(|r| bench.live[*r])
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|r| bench.quarantine(r, "`delete_when` cannot be computed"));
        }
        let mut outputs = self.outputs(batch, &mut bench)?;
        let check = self.check_batch(batch, &outputs)?;
        self.sequence(&check, &mut outputs, &mut bench)?;
        self.expect(&check, &mut bench)?;
        self.count(&bench);
        self.part(batch, outputs, &bench)
    }

    /// A record that did not fit when it was read is for people to look at.
    fn rescue(&self, batch: &RecordBatch, bench: &mut Bench) {
        if let Some(rescued) = batch.column_by_name(RESCUED_COLUMN) {
            (0..batch.num_rows())
                .filter(|i| rescued.is_valid(*i))
                .for_each(|i| bench.quarantine(i, "the record did not fit, see `_rescued`"));
        }
    }

    fn filter(&self, batch: &RecordBatch, bench: &mut Bench) -> Result<()> {
        let Some(condition) = &self.filter else { return Ok(()) };
        let (holds, failed) = condition.holds(batch)?;
        failed.into_iter().for_each(|row| bench.quarantine(row, "`where` cannot be computed"));
        for (row, holds) in holds.into_iter().enumerate() {
            bench.live[row] = bench.is_present(row) && (holds || bench.reasons.contains_key(&row));
        }
        Ok(())
    }

    /// The output columns, cast to their types. A delete needs its key only.
    fn outputs(&self, batch: &RecordBatch, bench: &mut Bench) -> Result<Vec<ArrayRef>> {
        let mut outputs = Vec::with_capacity(self.columns.len());
        for (index, (rule, evaluator)) in self.rules.columns.iter().zip(&self.columns).enumerate() {
            let is_key = self.rules.key.contains(&index);
            let evaluated = evaluator.run(batch)?;
            let given = &evaluated.values;
            let values = safe_cast(given, &rule.data_type)?;
            let mut bad = vec![false; values.len()];
            evaluated.failed.iter().for_each(|row| bad[*row] = true);
            lossy_rows(given, &values)?.into_iter().for_each(|row| bad[row] = true);
            for row in (0..values.len()).filter(|r| bad[*r] || values.is_null(*r)) {
                if !bench.live[row] || (bench.deletes[row] && !is_key) {
                    continue;
                }
                if bad[row] || given.is_valid(row) {
                    bench.quarantine(row, &format!("`{}` is not {}", rule.name, type_name(&rule.data_type)));
                } else if rule.required || is_key {
                    bench.quarantine(row, &format!("`{}` is missing", rule.name));
                }
            }
            outputs.push(values);
        }
        Ok(outputs)
    }

    fn check_batch(&self, batch: &RecordBatch, outputs: &[ArrayRef]) -> Result<RecordBatch> {
        let columns = self.rules.check_schema.fields().iter().enumerate().map(|(i, field)| match outputs.get(i) {
            Some(output) => Ok(output.clone()),
            None => batch
                .column_by_name(field.name())
                .cloned()
                .ok_or_else(|| Error::new(ErrorKind::Internal, format!("the input has no column `{}`", field.name()))),
        });
        RecordBatch::try_new(self.rules.check_schema.clone(), columns.collect::<Result<Vec<_>>>()?).map_err(internal)
    }

    /// The sequence must be known for a delete, or a late older row would come back.
    fn sequence(&self, check: &RecordBatch, outputs: &mut Vec<ArrayRef>, bench: &mut Bench) -> Result<()> {
        let values = match (&self.sequence, self.rules.sequence_column()) {
            (Some(own), _) => {
                let given = own.run(check)?;
                let values = safe_cast(&given.values, &delta_type(own.data_type()))?;
                let lost = (0..values.len()).filter(|i| values.is_null(*i) && given.values.is_valid(*i));
                let bad: Vec<_> = given.failed.iter().copied().chain(lost).filter(|r| bench.live[*r]).collect();
                bad.into_iter().for_each(|row| bench.quarantine(row, "`sequence_by` cannot be computed"));
                outputs.push(values.clone());
                values
            }
            (None, Some(column)) => check
                .column_by_name(&column)
                .cloned()
                .ok_or_else(|| Error::new(ErrorKind::Internal, format!("`sequence_by` names `{column}`, which is no column")))?,
            (None, None) => return Ok(()),
        };
        let unknown: Vec<_> =
            (0..values.len()).filter(|i| values.is_null(*i) && bench.deletes[*i] && bench.is_sound(*i)).collect();
        unknown.into_iter().for_each(|row| bench.quarantine(row, "the sequence of a delete is missing"));
        Ok(())
    }

    fn expect(&mut self, check: &RecordBatch, bench: &mut Bench) -> Result<()> {
        let eligible: Vec<bool> = (0..check.num_rows()).map(|r| bench.is_sound(r) && !bench.deletes[r]).collect();
        let mut dropped = vec![];
        for (rule, evaluator) in self.rules.expectations.iter().zip(&self.expectations) {
            let (holds, _) = evaluator.holds(check)?;
            let failing: Vec<usize> = (0..holds.len()).filter(|r| eligible[*r] && !holds[*r]).collect();
            let report = self.tally.expectations.entry(rule.name.clone()).or_default();
            report.failed += failing.len() as u64;
            report.passed += eligible.iter().filter(|e| **e).count() as u64 - failing.len() as u64;
            match rule.otherwise {
                Otherwise::Warn => {}
                Otherwise::Drop => dropped.extend(failing),
                Otherwise::Quarantine => {
                    failing.iter().for_each(|r| bench.quarantine(*r, &format!("`{}` does not hold", rule.name)))
                }
                Otherwise::Fail if failing.is_empty() => {}
                Otherwise::Fail => *self.tally.fatal.entry(rule.name.clone()).or_default() += failing.len() as u64,
            }
        }
        for row in dropped {
            bench.live[row] = bench.reasons.contains_key(&row);
        }
        Ok(())
    }

    fn count(&mut self, bench: &Bench) {
        let absent = bench.present.as_ref().map_or(0, NullBuffer::null_count) as u64;
        self.tally.read += bench.live.len() as u64 - absent;
        self.tally.dropped += bench.live.iter().filter(|l| !**l).count() as u64 - absent;
        self.tally.quarantined += bench.reasons.len() as u64;
        for reason in bench.reasons.values().flatten() {
            *self.tally.reasons.entry(reason.clone()).or_default() += 1;
        }
    }

    fn part(&self, batch: &RecordBatch, outputs: Vec<ArrayRef>, bench: &Bench) -> Result<Judged> {
        let workspace = batch
            .column_by_name(WORKSPACE_COLUMN)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the input has no column `workspace_id`"))?;
        let mut fields: Vec<_> = self.table_schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(WORKSPACE_COLUMN, DataType::Utf8, true)));
        fields.push(Arc::new(Field::new(DELETE_COLUMN, DataType::Boolean, false)));
        let mut columns = outputs;
        columns.push(workspace.clone());
        columns.push(Arc::new(BooleanArray::from(bench.deletes.clone())));
        let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)?;
        let sound: UInt64Array =
            (0..bench.live.len()).filter(|r| bench.is_sound(*r)).map(|r| r as u64).collect::<Vec<_>>().into();
        let passed = if sound.len() == all.num_rows() { all } else { take_record_batch(&all, &sound).map_err(internal)? };
        Ok(Judged { passed, quarantined: self.quarantined(batch, bench)? })
    }

    fn quarantined(&self, batch: &RecordBatch, bench: &Bench) -> Result<Option<RecordBatch>> {
        if bench.reasons.is_empty() {
            return Ok(None);
        }
        let rows: UInt64Array = bench.reasons.keys().map(|r| *r as u64).collect::<Vec<_>>().into();
        let taken = take_record_batch(batch, &rows).map_err(internal)?;
        let reasons: StringArray = bench.reasons.values().map(|r| Some(r.join("; "))).collect();
        let mut fields: Vec<_> = taken.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(REASON_COLUMN, DataType::Utf8, true)));
        let columns = taken.columns().iter().cloned().chain([Arc::new(reasons) as ArrayRef]).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map(Some).map_err(internal)
    }
}

impl RowRules {
    /// The output column that is the sequence, when `sequence_by` is no more than that.
    fn sequence_column(&self) -> Option<String> {
        match self.sequence_by.as_ref()? {
            Expr::Column(c) if self.columns.iter().any(|o| o.name == c.name) => Some(c.name.clone()),
            _ => None,
        }
    }

    /// `sequence_by` when the table needs a column of its own for it.
    fn own_sequence(&self) -> Option<&Expr> {
        self.sequence_by.as_ref().filter(|_| self.sequence_column().is_none())
    }
}

fn table_schema(rules: &RowRules, sequence: Option<&Evaluator>) -> SchemaRef {
    let mut fields: Vec<_> = rules.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
    fields.extend(sequence.map(|s| Field::new(SEQUENCE_COLUMN, delta_type(s.data_type()), true)));
    Arc::new(Schema::new(fields))
}

fn quarantine_schema(source: &SchemaRef) -> SchemaRef {
    let rows = source.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned();
    let reason = Arc::new(Field::new(REASON_COLUMN, DataType::Utf8, true));
    Arc::new(Schema::new(rows.chain([reason]).collect::<Vec<_>>()))
}

/// `values` as `data_type`, null where one does not fit.
pub(super) fn safe_cast(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(values.clone());
    }
    if let (Some(texts), DataType::Decimal128(precision, scale)) = (values.as_string_opt::<i32>(), data_type) {
        return text_to_decimal(texts, *precision, *scale).map_err(internal);
    }
    cast_with_options(values, data_type, &CastOptions { safe: true, ..Default::default() }).map_err(internal)
}

/// The rows of nested values in which a part did not fit: the cast has made it null.
fn lossy_rows(given: &ArrayRef, values: &ArrayRef) -> Result<Vec<usize>> {
    if !values.data_type().is_nested() || leaf_nulls(given) == leaf_nulls(values) {
        return Ok(vec![]);
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    let mut lossy = vec![];
    for row in 0..values.len() {
        let alone = take(given, &UInt64Array::from(vec![row as u64]), None).map_err(internal)?;
        if cast_with_options(&alone, values.data_type(), &strict).is_err() {
            lossy.push(row);
        }
    }
    Ok(lossy)
}

fn leaf_nulls(values: &ArrayRef) -> usize {
    let below: usize = values.to_data().child_data().iter().map(|c| leaf_nulls(&arrow::array::make_array(c.clone()))).sum();
    values.null_count() + below
}

/// The nearest type that a Delta table can hold.
pub(crate) fn delta_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, value) => delta_type(value),
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => DataType::Utf8,
        DataType::List(f) | DataType::LargeList(f) => {
            DataType::List(Arc::new(Field::new(f.name(), delta_type(f.data_type()), f.is_nullable())))
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| Field::new(f.name(), delta_type(f.data_type()), f.is_nullable())).collect())
        }
        other => other.clone(),
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int32 => "an integer".into(),
        DataType::Int64 => "a long".into(),
        DataType::Float32 | DataType::Float64 => "a number".into(),
        DataType::Boolean => "a boolean".into(),
        DataType::Date32 => "a date".into(),
        DataType::Timestamp(..) => "a timestamp".into(),
        DataType::Decimal128(p, s) => format!("a decimal({p},{s})"),
        DataType::Utf8 => "text".into(),
        _ => "of its type".into(),
    }
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot judge the rows").with_source(source)
}
