//! Columns that take their shape from the values: text, struct or list, each a builder that grows with the rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, NullArray, NullBufferBuilder, StringBuilder, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::naming::{Naming, field, key_of};
use super::rescue::Rescue;
use super::schema::list_of;
use super::tape::{Kind, Node, unescape};

/// Beyond this depth an object or array of a new column is kept as its JSON text.
const MAX_DEPTH: usize = 32;

/// The most fields that records may bring into being; a feed whose keys are data would have one column for each value.
const MAX_FIELDS: usize = 10_000;

/// A record on its way into the columns.
pub(super) struct Walk<'a> {
    pub(super) text: &'a str,
    pub(super) nodes: &'a [Node],
    pub(super) path: Vec<Step>,
    pub(super) rescue: &'a mut Rescue,
    pub(super) scratch: &'a mut String,
    /// Fields made so far, of the whole table.
    pub(super) fields: &'a mut usize,
}

/// One step of a path into a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The key at this node.
    Key(usize),
    /// The item of this number, from 0.
    Item(usize),
}

impl Walk<'_> {
    fn key(&self, node: usize) -> Cow<'_, str> {
        let key = self.nodes[node];
        match key.kind {
            Kind::Escaped => {
                let mut text = String::new();
                unescape(key.inner(self.text), &mut text);
                Cow::Owned(text)
            }
            _ => Cow::Borrowed(key.inner(self.text)),
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(node) => {
                    let dot = if path.is_empty() { "" } else { "." };
                    let _ = write!(path, "{dot}{}", self.key(*node));
                }
                Step::Item(index) => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }

    /// The path without item numbers, so that the reasons of a table stay few.
    fn place(&self) -> String {
        let keys: Vec<_> =
            self.path.iter().filter_map(|s| if let Step::Key(n) = s { Some(self.key(*n)) } else { None }).collect();
        keys.join(".")
    }

    fn rescue(&mut self, node: usize, why: &str) {
        let (place, path) = (self.place(), self.path());
        self.rescue.because(format!("`{place}` {why}"));
        self.rescue.field(&path, self.nodes[node].json(self.text));
    }
}

/// One column, or one field of a struct, or the items of a list.
#[derive(Debug)]
pub(super) enum Column {
    /// So many nulls and nothing else yet.
    Unknown(usize),
    Text(StringBuilder),
    Struct(Box<Group>),
    List(Box<List>),
}

#[derive(Debug)]
pub(super) struct List {
    items: Column,
    ends: Vec<i32>,
    validity: NullBufferBuilder,
}

/// The fields of a struct, or the columns of the table. Fields lag behind until they get a value, and are filled with nulls then.
#[derive(Debug)]
pub(super) struct Group {
    slots: Vec<Slot>,
    by_key: HashMap<String, usize>,
    naming: Naming,
    validity: NullBufferBuilder,
    /// Where the next key is looked for first: records tend to repeat the order of keys.
    guess: usize,
}

#[derive(Debug)]
struct Slot {
    key: String,
    name: String,
    column: Column,
}

impl Column {
    /// A column of the established type `kind`; any leaf is text here.
    pub(super) fn of_type(kind: &DataType) -> Self {
        match kind {
            DataType::Null => Column::Unknown(0),
            DataType::Struct(fields) => Column::Struct(Box::new(Group::new(Naming::of_struct(fields), fields))),
            DataType::List(item) | DataType::LargeList(item) => {
                Column::List(Box::new(List::new(Column::of_type(item.data_type()))))
            }
            _ => Column::Text(StringBuilder::new()),
        }
    }

    /// An empty column of the shape of a value, after `nulls` nulls.
    fn of_value(kind: Kind, nulls: usize, depth: usize) -> Self {
        let mut column = match kind {
            Kind::Object if depth <= MAX_DEPTH => {
                Column::Struct(Box::new(Group::new(Naming::of_struct(&Fields::empty()), &Fields::empty())))
            }
            Kind::Array if depth <= MAX_DEPTH => Column::List(Box::new(List::new(Column::Unknown(0)))),
            _ => Column::Text(StringBuilder::new()),
        };
        column.append_nulls(nulls);
        column
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Column::Unknown(nulls) => *nulls,
            Column::Text(text) => arrow::array::ArrayBuilder::len(text),
            Column::Struct(group) => group.len(),
            Column::List(list) => list.ends.len(),
        }
    }

    pub(super) fn append_nulls(&mut self, nulls: usize) {
        match self {
            Column::Unknown(before) => *before += nulls,
            Column::Text(text) => text.append_nulls(nulls),
            Column::Struct(group) => group.validity.append_n_nulls(nulls),
            Column::List(list) => {
                list.ends.resize(list.ends.len() + nulls, list.items.len() as i32);
                list.validity.append_n_nulls(nulls);
            }
        }
    }

    /// Fills with nulls up to `rows`.
    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        if missing > 0 {
            self.append_nulls(missing);
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Column::Struct(_) => "objects",
            Column::List(_) => "lists",
            Column::Text(_) | Column::Unknown(_) => "text",
        }
    }

    /// Takes `text`. A column of objects or lists gets a null instead and says what it holds.
    pub(super) fn append_text(&mut self, text: &str) -> Result<(), &'static str> {
        if let Column::Unknown(nulls) = *self {
            *self = Column::of_value(Kind::Text, nulls, 0);
        }
        if let Column::Text(builder) = self {
            builder.append_value(text);
            return Ok(());
        }
        self.append_nulls(1);
        Err(self.expected())
    }

    fn append(&mut self, index: usize, walk: &mut Walk<'_>) {
        let node = walk.nodes[index];
        if let (Column::Unknown(nulls), true) = (&*self, node.kind != Kind::Null) {
            *self = Column::of_value(node.kind, *nulls, walk.path.len());
        }
        match (&mut *self, node.kind) {
            (column, Kind::Null) => column.append_nulls(1),
            (Column::Text(text), Kind::Text) => text.append_value(node.inner(walk.text)),
            (Column::Text(text), Kind::Escaped) => {
                unescape(node.inner(walk.text), walk.scratch);
                text.append_value(&*walk.scratch);
            }
            (Column::Text(text), _) => text.append_value(node.json(walk.text)),
            (Column::Struct(group), Kind::Object) => group.append(index, walk),
            (Column::List(list), Kind::Array) => list.append(index, walk),
            (column, kind) => {
                column.append_nulls(1);
                walk.rescue(index, &format!("is {} where {} were", described(kind), column.expected()));
            }
        }
    }

    /// The values of `rows` rows; the column is empty afterwards and keeps its shape.
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        match self {
            Column::Unknown(nulls) => Arc::new(NullArray::new(std::mem::take(nulls))),
            Column::Text(text) => Arc::new(text.finish()),
            Column::Struct(group) => group.finish(),
            Column::List(list) => list.finish(),
        }
    }
}

fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Literal | Kind::Text | Kind::Escaped => "text",
        Kind::Object => "an object",
        Kind::Array => "a list",
    }
}

impl List {
    fn new(items: Column) -> Self {
        Self { items, ends: Vec::new(), validity: NullBufferBuilder::new(0) }
    }

    fn append(&mut self, index: usize, walk: &mut Walk<'_>) {
        let (mut item, end) = (index + 1, walk.nodes[index].next());
        let mut number = 0;
        while item < end {
            walk.path.push(Step::Item(number));
            self.items.append(item, walk);
            walk.path.pop();
            item = walk.nodes[item].next();
            number += 1;
        }
        self.ends.push(self.items.len() as i32);
        self.validity.append_non_null();
    }

    fn finish(&mut self) -> ArrayRef {
        let items = self.items.finish(self.items.len());
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        // The ends are lengths of a list that only grows, so they are in order.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(ListArray::new(list_of(items.data_type().clone()), offsets, items, self.validity.finish()))
    }
}

impl Group {
    /// The fields `known`, named by `naming`.
    pub(super) fn new(naming: Naming, known: &Fields) -> Self {
        let mut group = Self { slots: Vec::new(), by_key: HashMap::new(), naming, validity: NullBufferBuilder::new(0), guess: 0 };
        for field in group.naming.raw(known) {
            group.add(key_of(&field).to_owned(), field.name().clone(), Column::of_type(field.data_type()));
        }
        group
    }

    fn add(&mut self, key: String, name: String, column: Column) -> usize {
        self.by_key.insert(key.clone(), self.slots.len());
        self.slots.push(Slot { key, name, column });
        self.slots.len() - 1
    }

    pub(super) fn len(&self) -> usize {
        self.validity.len()
    }

    /// How many fields there are.
    pub(super) fn width(&self) -> usize {
        self.slots.len()
    }

    /// The slot for `key`, made when it is new.
    pub(super) fn slot(&mut self, key: &str) -> usize {
        if let Some(found) = self.find(key) {
            return found;
        }
        let name = self.naming.name(key, self.slots.len() + 1);
        self.add(key.to_owned(), name, Column::Unknown(0))
    }

    /// The slot for `key`, of text when nothing else is established.
    pub(super) fn text_slot(&mut self, key: &str) -> usize {
        let slot = self.slot(key);
        let column = &mut self.slots[slot].column;
        if let Column::Unknown(nulls) = *column {
            *column = Column::of_value(Kind::Text, nulls, 0);
        }
        slot
    }

    /// The key of `slot` as delivered.
    pub(super) fn key(&self, slot: usize) -> &str {
        &self.slots[slot].key
    }

    fn find(&mut self, key: &str) -> Option<usize> {
        let found = match self.slots.get(self.guess) {
            Some(slot) if slot.key == key => self.guess,
            _ => *self.by_key.get(key)?,
        };
        self.guess = found + 1;
        Some(found)
    }

    /// The column in `slot`, filled up to the row that is being written.
    pub(super) fn column(&mut self, slot: usize) -> &mut Column {
        let rows = self.len();
        let column = &mut self.slots[slot].column;
        column.pad(rows);
        column
    }

    /// Ends the row that is being written.
    pub(super) fn end_row(&mut self) {
        self.validity.append_non_null();
    }

    /// Takes the object at `index` as one row.
    pub(super) fn append(&mut self, index: usize, walk: &mut Walk<'_>) {
        self.guess = 0;
        let row = self.len();
        let (mut key, end) = (index + 1, walk.nodes[index].next());
        while key < end {
            let value = key + 1;
            walk.path.push(Step::Key(key));
            match self.slot_for(key, walk) {
                None => walk.rescue(value, &format!("is one field too many: a table has at most {MAX_FIELDS}")),
                Some(slot) if self.slots[slot].column.len() > row => walk.rescue(value, "is given more than once"),
                Some(slot) => self.column(slot).append(value, walk),
            }
            walk.path.pop();
            key = walk.nodes[value].next();
        }
        self.end_row();
    }

    fn slot_for(&mut self, node: usize, walk: &mut Walk<'_>) -> Option<usize> {
        let key = walk.key(node);
        if let Some(found) = self.find(&key) {
            return Some(found);
        }
        if *walk.fields >= MAX_FIELDS {
            return None;
        }
        let slot = self.slot(&key);
        drop(key);
        *walk.fields += 1;
        Some(slot)
    }

    /// Fields and values of the rows so far; the group is empty afterwards and keeps its shape.
    pub(super) fn finish_columns(&mut self) -> (Fields, Vec<ArrayRef>) {
        let rows = self.len();
        let arrays: Vec<ArrayRef> = self.slots.iter_mut().map(|s| s.column.finish(rows)).collect();
        let fields: Vec<FieldRef> =
            self.slots.iter().zip(&arrays).map(|(s, a)| Arc::new(field(&s.name, &s.key, a.data_type().clone()))).collect();
        (fields.into(), arrays)
    }

    /// Forgets the rows' validity, which the table itself has no use for.
    pub(super) fn clear(&mut self) {
        self.validity.truncate(0);
    }

    fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let (fields, arrays) = self.finish_columns();
        let nulls = self.validity.finish();
        match fields.is_empty() {
            true => Arc::new(StructArray::new_empty_fields(rows, nulls)),
            false => Arc::new(StructArray::new(fields, arrays, nulls)),
        }
    }
}
