//! The rows of a query, written batch by batch in the form that was asked for.

use std::cell::RefCell;
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lake::{Error, ErrorKind};

use crate::arguments::OutputForm;
use crate::exit::Failure;
use crate::grid::{Cell, Column, Layout};
use crate::printer::{Printer, Surface};
use crate::style::Tone;

/// The rows that the widths of a table for people are taken from; the rest flows through.
const ROWS_TO_MEASURE: usize = 1_000;

/// What a table for people could not show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Cells that were cut.
    pub(crate) cells: usize,
    /// Columns that were left out.
    pub(crate) columns: usize,
}

/// Writes the rows of one result. Memory stays within one batch and [`ROWS_TO_MEASURE`] rows.
pub(crate) struct RowWriter<'a> {
    printer: &'a Printer,
    form: Form,
    schema: SchemaRef,
    rows: u64,
}

enum Form {
    Human(Box<HumanRows>),
    Json(Writer<Buffer, JsonArray>, Buffer),
    Ndjson(Writer<Buffer, LineDelimited>, Buffer),
    Csv { header: bool },
}

impl<'a> RowWriter<'a> {
    /// A writer of rows of `schema`, in the form that `printer` was told.
    pub(crate) fn new(printer: &'a Printer, schema: SchemaRef) -> Self {
        let form = match printer.form() {
            OutputForm::Human => Form::Human(Box::new(HumanRows::new(&schema, printer.out))),
            OutputForm::Json => json_writer(Form::Json),
            OutputForm::Ndjson => json_writer(Form::Ndjson),
            OutputForm::Csv => Form::Csv { header: true },
        };
        Self { printer, form, schema, rows: 0 }
    }

    /// Writes the rows of `batch`.
    ///
    /// # Errors
    /// Those of stdout; a type that the form cannot hold.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        let bytes = match &mut self.form {
            Form::Human(rows) => rows.add(batch).map_err(not_shown)?.into_bytes(),
            Form::Json(writer, buffer) => writer.write(batch).map(|()| buffer.take()).map_err(not_shown)?,
            Form::Ndjson(writer, buffer) => writer.write(batch).map(|()| buffer.take()).map_err(not_shown)?,
            Form::Csv { header } => csv_bytes(batch, mem::take(header)).map_err(not_shown)?,
        };
        if bytes.is_empty() { Ok(()) } else { Ok(self.printer.result_bytes(&bytes)?) }
    }

    /// Writes what must come after the last row, and gives the number of rows and what could not be shown.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub(crate) fn finish(mut self) -> Result<(u64, LeftOut), Failure> {
        if matches!(self.form, Form::Csv { header: true }) {
            self.write(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        let (bytes, left_out) = match &mut self.form {
            Form::Human(rows) => (rows.finish().into_bytes(), rows.left_out),
            Form::Json(writer, buffer) => {
                writer.finish().map_err(not_shown)?;
                let mut bytes = buffer.take();
                bytes.push(b'\n');
                (bytes, LeftOut::default())
            }
            Form::Ndjson(..) | Form::Csv { .. } => (vec![], LeftOut::default()),
        };
        self.printer.result_bytes(&bytes)?;
        Ok((self.rows, left_out))
    }
}

/// The message of an Arrow error may hold a value, so it is left out.
fn not_shown(_: ArrowError) -> Failure {
    let error = Error::new(ErrorKind::Data, "a value of the result cannot be written in this form");
    Failure::Error(error.with_hint("cast the column to text with `CAST(column AS VARCHAR)`"))
}

/// Bytes that a writer has made and that were not yet taken away.
#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut self.0.borrow_mut())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json_writer<F: JsonFormat>(form: fn(Writer<Buffer, F>, Buffer) -> Form) -> Form {
    let buffer = Buffer::default();
    form(WriterBuilder::new().with_explicit_nulls(true).build(buffer.clone()), buffer)
}

fn csv_bytes(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let flat = without_nesting(batch)?;
    let mut bytes = vec![];
    csv::WriterBuilder::new().with_header(header).build(&mut bytes).write(&flat)?;
    Ok(bytes)
}

/// The same rows with structs, lists and maps as JSON text, which a CSV file can hold.
fn without_nesting(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|f| f.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields: Vec<FieldRef> = vec![];
    let mut columns: Vec<ArrayRef> = vec![];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(Arc::new(json_text(field, column)?));
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn json_text(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let texts = (0..column.len()).map(|row| {
        let mut text = vec![];
        let known = !encoder.is_null(row);
        if known {
            encoder.encode(row, &mut text);
        }
        known.then(|| String::from_utf8_lossy(&text).into_owned())
    });
    Ok(texts.collect())
}

/// A table for people. The first rows set the widths, and the others flow through.
struct HumanRows {
    surface: Surface,
    columns: Vec<Column>,
    waiting: Vec<Vec<Cell>>,
    layout: Option<Layout>,
    left_out: LeftOut,
}

impl HumanRows {
    fn new(schema: &Schema, surface: Surface) -> Self {
        let column = |field: &FieldRef| {
            let numeric = field.data_type().is_numeric();
            if numeric { Column::number(field.name()) } else { Column::text(field.name()) }.shrinking()
        };
        let columns = schema.fields().iter().map(column).collect();
        Self { surface, columns, waiting: vec![], layout: None, left_out: LeftOut::default() }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<String, ArrowError> {
        let options = FormatOptions::new().with_display_error(false);
        let formatters: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().zip(&formatters).map(|(column, formatter)| match column.is_null(row) {
                true => Ok(Cell::new("NULL", Tone::Faint)),
                false => formatter.value(row).try_to_string().map(Cell::from),
            });
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            match &self.layout {
                Some(layout) => text += &shown(layout, &cells, &mut self.left_out),
                None => self.waiting.push(cells),
            }
            if self.waiting.len() >= ROWS_TO_MEASURE {
                text += &self.measured();
            }
        }
        Ok(text)
    }

    fn finish(&mut self) -> String {
        if self.layout.is_none() { self.measured() } else { String::new() }
    }

    /// Sets the widths, and gives the header and the rows that waited for them.
    fn measured(&mut self) -> String {
        let waiting = mem::take(&mut self.waiting);
        let layout = Layout::fit(mem::take(&mut self.columns), &waiting, self.surface.width, self.surface.palette);
        self.left_out.columns = layout.hidden();
        let mut text = layout.header();
        for cells in &waiting {
            text += &shown(&layout, cells, &mut self.left_out);
        }
        self.layout = Some(layout);
        text
    }
}

fn shown(layout: &Layout, cells: &[Cell], left_out: &mut LeftOut) -> String {
    let (line, cut) = layout.row(cells);
    left_out.cells += cut;
    line
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, ListArray, StructArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch() -> RecordBatch {
        let author = StructArray::from(vec![(
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("ada"), None])) as ArrayRef,
        )]);
        let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from(vec![1, 1_000_000])) as ArrayRef, false),
            ("body", Arc::new(StringArray::from(vec![Some("a \"quoted\", text\nover lines"), None])), true),
            ("score", Arc::new(Float64Array::from(vec![0.5, -1.0])), true),
            ("author", Arc::new(author), true),
            ("tags", Arc::new(tags), true),
        ])
        .unwrap()
    }

    fn written(form: OutputForm, width: Option<usize>, batches: &[RecordBatch]) -> (String, u64, LeftOut) {
        let (printer, captured) = Printer::captured(form, Surface { width, ..Surface::default() });
        let mut writer = RowWriter::new(&printer, batch().schema());
        batches.iter().for_each(|b| writer.write(b).unwrap());
        let (rows, left_out) = writer.finish().unwrap();
        assert_eq!(captured.stderr(), "");
        (captured.stdout(), rows, left_out)
    }

    #[test]
    fn people_get_an_aligned_table() {
        let (text, rows, left_out) = written(OutputForm::Human, None, &[batch()]);
        insta::assert_snapshot!(text, @r#"
             id  body                          score  author       tags
        ───────  ────────────────────────────  ─────  ───────────  ─────
              1  a "quoted", text\nover lines    0.5  {name: ada}  [1, ]
        1000000  NULL                           -1.0  {name: }     NULL
        "#);
        assert_eq!((rows, left_out), (2, LeftOut::default()));
    }

    #[test]
    fn a_narrow_terminal_shows_what_fits_and_counts_the_rest() {
        let (text, _, left_out) = written(OutputForm::Human, Some(40), &[batch()]);
        insta::assert_snapshot!(text, @r#"
             id  body      score  author
        ───────  ────────  ─────  ────────
              1  a "quot…    0.5  {name: …
        1000000  NULL       -1.0  {name: }
        "#);
        assert_eq!(left_out, LeftOut { cells: 2, columns: 1 });
    }

    #[test]
    fn rows_after_the_measured_ones_flow_through() {
        let many = vec![batch(); ROWS_TO_MEASURE];
        let (text, rows, _) = written(OutputForm::Human, Some(80), &many);
        assert_eq!(rows, 2 * ROWS_TO_MEASURE as u64);
        assert_eq!(text.lines().count(), 2 * ROWS_TO_MEASURE + 2);
    }

    #[test]
    fn json_is_one_document_whatever_the_number_of_batches() {
        for (batches, length) in [(vec![], 0), (vec![batch()], 2), (vec![batch(), batch()], 4)] {
            let (text, ..) = written(OutputForm::Json, None, &batches);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value.as_array().unwrap().len(), length);
            if let Some(row) = value.get(1) {
                assert_eq!(row["body"], serde_json::Value::Null);
                assert_eq!(row["author"], serde_json::json!({ "name": null }));
            }
        }
    }

    #[test]
    fn ndjson_is_one_object_a_line() {
        let (text, ..) = written(OutputForm::Ndjson, None, &[batch(), batch()]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).unwrap().is_object()));
        assert_eq!(written(OutputForm::Ndjson, None, &[]).0, "");
    }

    #[test]
    fn csv_has_one_header_and_nested_values_as_json() {
        let (text, ..) = written(OutputForm::Csv, None, &[batch(), batch()]);
        assert_eq!(text.matches("id,body,score,author,tags").count(), 1);
        insta::assert_snapshot!(written(OutputForm::Csv, None, &[batch()]).0, @r#"
        id,body,score,author,tags
        1,"a ""quoted"", text
        over lines",0.5,"{""name"":""ada""}","[1,null]"
        1000000,,-1.0,"{""name"":null}",
        "#);
        assert_eq!(written(OutputForm::Csv, None, &[]).0, "id,body,score,author,tags\n");
    }
}
