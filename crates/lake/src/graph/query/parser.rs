//! From words to a tree.

use serde_json::{Value, json};

use super::lexer::{Token, TokenKind, error_at, tokens};
use super::scope::Scope;
use super::{Column, Comparison, Condition, Direction, EdgePattern, Function, GraphQuery, Match, NodePattern, Operand, Order};
use super::{OrderBy, Output, Path, Scalar};
use crate::error::{Error, Result};
use crate::graph::is_reserved;

/// Conditions within conditions.
const DEEPEST: usize = 50;
/// Nodes in all patterns together.
const MOST_NODES: usize = 50;
/// The longest path of `*1..n`.
const LONGEST_PATH: u32 = 10;

const WRITES: [&str; 10] = ["CREATE", "MERGE", "SET", "DELETE", "DETACH", "REMOVE", "DROP", "FOREACH", "LOAD", "INSERT"];
/// What cannot be the name of a variable or a column.
const KEYWORDS: [&str; 25] = [
    "MATCH",
    "WHERE",
    "RETURN",
    "DISTINCT",
    "ORDER",
    "BY",
    "ASC",
    "DESC",
    "ASCENDING",
    "DESCENDING",
    "SKIP",
    "LIMIT",
    "AND",
    "OR",
    "NOT",
    "IS",
    "NULL",
    "IN",
    "STARTS",
    "ENDS",
    "CONTAINS",
    "AS",
    "TRUE",
    "FALSE",
    "XOR",
];
const POSSIBLE: &str = "a query is `MATCH` (with `WHERE`), then `RETURN`, then `ORDER BY`, `SKIP` and `LIMIT`";

pub(super) fn parse(query: &str) -> Result<GraphQuery> {
    let mut parser = Parser { query, tokens: tokens(query)?, at: 0, scope: Scope::default(), depth: 0, nodes: 0 };
    parser.query()
}

struct Parser<'a> {
    query: &'a str,
    tokens: Vec<Token>,
    at: usize,
    scope: Scope,
    depth: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<GraphQuery> {
        let mut matches = Vec::new();
        while self.take_word("MATCH") {
            matches.push(self.one_match()?);
        }
        if matches.is_empty() || !self.take_word("RETURN") {
            return Err(self.unexpected(if matches.is_empty() { "`MATCH`" } else { "`MATCH`, `WHERE` or `RETURN`" }));
        }
        let distinct = self.take_word("DISTINCT");
        let columns = self.columns()?;
        let mut found = GraphQuery { matches, distinct, columns, order: Vec::new(), skip: 0, limit: None };
        if self.take_word("ORDER") {
            self.word("BY")?;
            found.order.push(self.order(&found)?);
            while self.take(",") {
                found.order.push(self.order(&found)?);
            }
        }
        if self.take_word("SKIP") {
            found.skip = self.whole_number()?;
        }
        if self.take_word("LIMIT") {
            found.limit = Some(self.whole_number()?);
        }
        self.take(";");
        if self.peek() == &TokenKind::End { Ok(found) } else { Err(self.unexpected("the end")) }
    }

    fn one_match(&mut self) -> Result<Match> {
        let mut paths = vec![self.path()?];
        while self.take(",") {
            paths.push(self.path()?);
        }
        let condition = if self.take_word("WHERE") { Some(self.condition()?) } else { None };
        Ok(Match { paths, condition })
    }

    fn path(&mut self) -> Result<Path> {
        let mut path = Path { nodes: vec![self.node()?], steps: Vec::new() };
        while matches!(self.peek(), TokenKind::Symbol("-" | "<")) {
            path.steps.push(self.edge()?);
            path.nodes.push(self.node()?);
        }
        Ok(path)
    }

    fn node(&mut self) -> Result<NodePattern> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(self.error(self.here(), format!("there are more than {MOST_NODES} nodes in the patterns")));
        }
        self.symbol("(")?;
        let at = self.here();
        let variable = self.optional_variable()?;
        if let Some(name) = &variable {
            self.scope.node(name).map_err(|why| self.error(at, why))?;
        }
        let labels = if self.take(":") { self.alternatives("a label")? } else { Vec::new() };
        if self.peek() == &TokenKind::Symbol(":") {
            return Err(self.error(self.here(), "a node has one label").with_hint("`(a:Person|Company)` finds nodes of either"));
        }
        let properties = self.properties()?;
        self.symbol(")")?;
        Ok(NodePattern { variable, labels, properties })
    }

    fn edge(&mut self) -> Result<EdgePattern> {
        let to_left = self.take("<");
        self.symbol("-")?;
        let mut edge =
            EdgePattern { variable: None, kinds: Vec::new(), properties: Vec::new(), direction: Direction::Either, length: None };
        if self.take("[") {
            self.inside_edge(&mut edge)?;
            self.symbol("]")?;
        }
        self.symbol("-")?;
        let to_right = self.take(">");
        edge.direction = match (to_left, to_right) {
            (true, false) => Direction::Left,
            (false, true) => Direction::Right,
            _ => Direction::Either,
        };
        Ok(edge)
    }

    fn inside_edge(&mut self, edge: &mut EdgePattern) -> Result<()> {
        let at = self.here();
        edge.variable = self.optional_variable()?;
        edge.kinds = if self.take(":") { self.alternatives("a type")? } else { Vec::new() };
        if self.take("*") {
            edge.length = Some(self.length()?);
        }
        edge.properties = self.properties()?;
        if let Some(name) = &edge.variable {
            if edge.length.is_some() {
                return Err(self
                    .error(at, "edges of `*` cannot have a name")
                    .with_hint("leave the name out, or write the steps one by one"));
            }
            self.scope.edge(name).map_err(|why| self.error(at, why))?;
        }
        Ok(())
    }

    fn length(&mut self) -> Result<(u32, u32)> {
        let at = self.here();
        let least = self.optional_number()?;
        let (least, most) =
            if self.take("..") { (least.unwrap_or(1), self.optional_number()?) } else { (least.unwrap_or(1), least) };
        match most {
            Some(most) if most <= u64::from(LONGEST_PATH) && least <= most => {
                Ok((u32::try_from(least).unwrap_or(LONGEST_PATH), u32::try_from(most).unwrap_or(LONGEST_PATH)))
            }
            Some(most) if least > most => Err(self.error(at, "the most is less than the least")),
            _ => Err(self.error(at, format!("a path needs an end, of {LONGEST_PATH} at most")).with_hint("such as `*1..3`")),
        }
    }

    fn alternatives(&mut self, what: &str) -> Result<Vec<String>> {
        let mut names = vec![self.name(what)?];
        while self.take("|") {
            self.take(":");
            names.push(self.name(what)?);
        }
        Ok(names)
    }

    fn properties(&mut self) -> Result<Vec<(String, Value)>> {
        let mut found = Vec::new();
        if !self.take("{") || self.take("}") {
            return Ok(found);
        }
        loop {
            let name = self.property_name()?;
            self.symbol(":")?;
            found.push((name, self.literal()?));
            if !self.take(",") {
                self.symbol("}")?;
                return Ok(found);
            }
        }
    }

    fn property_name(&mut self) -> Result<String> {
        let at = self.here();
        let name = self.name("the name of a property")?;
        if is_reserved(&name) {
            return Err(self
                .error(at, format!("`{name}` is kept for the platform"))
                .with_hint("a query is about one workspace anyway"));
        }
        Ok(name)
    }

    fn condition(&mut self) -> Result<Condition> {
        let mut any = vec![self.all_of()?];
        while self.take_word("OR") {
            any.push(self.all_of()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Or(any) })
    }

    fn all_of(&mut self) -> Result<Condition> {
        let mut all = vec![self.not()?];
        while self.take_word("AND") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::And(all) })
    }

    fn not(&mut self) -> Result<Condition> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(self.here(), format!("conditions are more than {DEEPEST} deep")));
        }
        let found = if self.take_word("NOT") {
            Condition::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.condition()?;
            self.symbol(")")?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(found)
    }

    fn comparison(&mut self) -> Result<Condition> {
        let at = self.here();
        if let Some(same) = self.sameness(at)? {
            return Ok(same);
        }
        let left = self.operand()?;
        if self.take_word("IS") {
            let is_not = self.take_word("NOT");
            self.word("NULL")?;
            return Ok(Condition::IsNull(left, !is_not));
        }
        if self.take_word("IN") {
            return Ok(Condition::In(left, self.list()?));
        }
        let comparison = self.comparison_sign()?;
        Ok(Condition::Compare(left, comparison, self.operand()?))
    }

    /// `a = b` or `a <> b`, of variables.
    fn sameness(&mut self, at: usize) -> Result<Option<Condition>> {
        let (Some(a), Some(b)) = (self.variable_at(0), self.variable_at(2)) else { return Ok(None) };
        let is_equal = match self.tokens.get(self.at + 1).map(|token| &token.kind) {
            Some(TokenKind::Symbol("=")) => true,
            Some(TokenKind::Symbol("<>")) => false,
            _ => return Ok(None),
        };
        self.scope.alike(&a, &b).map_err(|why| self.error(at, why))?;
        self.at += 3;
        Ok(Some(Condition::Same(a, b, is_equal)))
    }

    /// A name that stands alone, some words from here.
    fn variable_at(&self, ahead: usize) -> Option<String> {
        let at = |ahead: usize| self.tokens.get(self.at + ahead).map(|token| &token.kind);
        let TokenKind::Name(name) = at(ahead)? else { return None };
        let goes_on = matches!(at(ahead + 1), Some(TokenKind::Symbol("." | "(")));
        (!goes_on && !is_keyword(name)).then(|| name.clone())
    }

    fn comparison_sign(&mut self) -> Result<Comparison> {
        let signs = [
            ("=", Comparison::Equal),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = signs.into_iter().find(|(sign, _)| self.take(sign)) {
            return Ok(comparison);
        }
        for (word, comparison) in [("STARTS", Comparison::StartsWith), ("ENDS", Comparison::EndsWith)] {
            if self.take_word(word) {
                self.word("WITH")?;
                return Ok(comparison);
            }
        }
        if self.take_word("CONTAINS") {
            return Ok(Comparison::Contains);
        }
        Err(self.unexpected(
            "a comparison (`=`, `<>`, `<`, `<=`, `>`, `>=`, `IS NULL`, `IN`, `STARTS WITH`, `ENDS WITH`, `CONTAINS`)",
        ))
    }

    fn operand(&mut self) -> Result<Operand> {
        let at = self.here();
        if self.variable_or_call() {
            return match self.scalar()? {
                Scalar::Property(variable, property) => Ok(Operand::Property(variable, property)),
                Scalar::Type(variable) => Ok(Operand::Type(variable)),
                _ => {
                    Err(self.error(at, "this cannot be compared").with_hint("compare a property, such as `a.name`, or `type(r)`"))
                }
            };
        }
        self.literal().map(Operand::Literal)
    }

    /// Whether a name comes that is no keyword.
    fn variable_or_call(&self) -> bool {
        matches!(self.peek(), TokenKind::Name(name) if !is_keyword(name))
    }

    fn list(&mut self) -> Result<Vec<Value>> {
        self.symbol("[")?;
        let mut values = Vec::new();
        if self.take("]") {
            return Ok(values);
        }
        loop {
            values.push(self.literal()?);
            if !self.take(",") {
                self.symbol("]")?;
                return Ok(values);
            }
        }
    }

    fn literal(&mut self) -> Result<Value> {
        let at = self.here();
        if self.take_word("TRUE") {
            return Ok(Value::Bool(true));
        }
        if self.take_word("FALSE") {
            return Ok(Value::Bool(false));
        }
        if self.take_word("NULL") {
            return Err(self.error(at, "nothing is equal to a null").with_hint("use `IS NULL` or `IS NOT NULL`"));
        }
        let is_negative = self.take("-");
        let value = match (self.peek().clone(), is_negative) {
            (TokenKind::Integer(value), false) => json!(value),
            (TokenKind::Integer(value), true) => json!(-value),
            (TokenKind::Float(value), false) => json!(value),
            (TokenKind::Float(value), true) => json!(-value),
            (TokenKind::Text(text), false) => Value::String(text),
            _ => return Err(self.unexpected("a value (`'text'`, a number, `true` or `false`)")),
        };
        self.at += 1;
        Ok(value)
    }

    fn columns(&mut self) -> Result<Vec<Column>> {
        let mut columns: Vec<Column> = Vec::new();
        loop {
            let (from, at) = (self.at, self.here());
            let value = self.output()?;
            let name = if self.take_word("AS") { self.variable()? } else { self.written(from) };
            if columns.iter().any(|column| column.name == name) {
                return Err(self.error(at, format!("two columns are called `{name}`")).with_hint("name one of them with `AS`"));
            }
            columns.push(Column { name, value });
            if !self.take(",") {
                return Ok(columns);
            }
        }
    }

    /// The words since `from`, as the name of a column.
    fn written(&self, from: usize) -> String {
        let words = self.tokens[from..self.at].iter().map(|token| match &token.kind {
            TokenKind::Name(name) if name.eq_ignore_ascii_case("DISTINCT") => "DISTINCT ".to_owned(),
            TokenKind::Name(name) => name.clone(),
            TokenKind::Symbol(symbol) => (*symbol).to_owned(),
            _ => String::new(),
        });
        words.collect()
    }

    fn output(&mut self) -> Result<Output> {
        let Some((function, name)) = self.aggregate() else { return self.scalar().map(Output::Scalar) };
        self.at += 2;
        if function == Function::Count && self.take("*") {
            self.symbol(")")?;
            return Ok(Output::CountRows);
        }
        let (distinct, at) = (self.take_word("DISTINCT"), self.here());
        let of = self.scalar()?;
        self.symbol(")")?;
        let is_value = matches!(of, Scalar::Property(..) | Scalar::Type(_));
        if !is_value && !matches!(function, Function::Count | Function::Collect) {
            return Err(self.error(at, format!("`{name}` is of values")).with_hint(format!("such as `{name}(a.age)`")));
        }
        Ok(Output::Aggregate { function, distinct, of })
    }

    fn aggregate(&self) -> Option<(Function, &'static str)> {
        let TokenKind::Name(name) = self.peek() else { return None };
        let is_call = self.tokens.get(self.at + 1).is_some_and(|token| token.kind == TokenKind::Symbol("("));
        let functions = [
            ("count", Function::Count),
            ("sum", Function::Sum),
            ("min", Function::Min),
            ("max", Function::Max),
            ("avg", Function::Avg),
            ("collect", Function::Collect),
        ];
        let found = functions.into_iter().find(|(function, _)| is_call && name.eq_ignore_ascii_case(function));
        found.map(|(name, function)| (function, name))
    }

    fn scalar(&mut self) -> Result<Scalar> {
        let at = self.here();
        let name = self.variable()?;
        if self.take("(") {
            let function = name.to_ascii_lowercase();
            if function != "type" && function != "labels" {
                let message = format!("there is no function `{name}` here");
                return Err(self
                    .error(at, message)
                    .with_hint("there are count, sum, min, max, avg and collect in `RETURN`, labels(a) and type(r)"));
            }
            let at = self.here();
            let of = self.variable()?;
            self.symbol(")")?;
            let is_edge = self.scope.is_edge(&of).map_err(|why| self.error(at, why))?;
            return match (function.as_str(), is_edge) {
                ("type", true) => Ok(Scalar::Type(of)),
                ("labels", false) => Ok(Scalar::Labels(of)),
                _ => Err(self.error(at, "`type` is of an edge, `labels` of a node")),
            };
        }
        let is_edge = self.scope.is_edge(&name).map_err(|why| self.error(at, why))?;
        if self.take(".") {
            return Ok(Scalar::Property(name, self.property_name()?));
        }
        Ok(if is_edge { Scalar::Edge(name) } else { Scalar::Node(name) })
    }

    fn order(&mut self, found: &GraphQuery) -> Result<Order> {
        let by = self.order_by(found)?;
        let descending = self.take_word("DESC") || self.take_word("DESCENDING");
        if !descending && !self.take_word("ASC") {
            self.take_word("ASCENDING");
        }
        Ok(Order { by, descending })
    }

    fn order_by(&mut self, found: &GraphQuery) -> Result<OrderBy> {
        let at = self.here();
        let alias = self.variable_at(0).and_then(|name| found.columns.iter().position(|column| column.name == name));
        let value = match alias {
            Some(column) => {
                self.at += 1;
                return self.ordered(at, found, column);
            }
            None => self.output()?,
        };
        if let Some(column) = found.columns.iter().position(|column| column.value == value) {
            return self.ordered(at, found, column);
        }
        match value {
            Output::Scalar(value @ (Scalar::Property(..) | Scalar::Type(_))) if !found.distinct && !found.is_aggregated() => {
                Ok(OrderBy::Scalar(value))
            }
            Output::Scalar(Scalar::Node(_) | Scalar::Edge(_) | Scalar::Labels(_)) => Err(self.no_order(at)),
            _ => Err(self.error(at, "the order can only be by what is returned").with_hint("return it, with a name by `AS`")),
        }
    }

    fn ordered(&self, at: usize, found: &GraphQuery, column: usize) -> Result<OrderBy> {
        match found.columns.get(column).map(|column| &column.value) {
            Some(Output::Scalar(Scalar::Property(..) | Scalar::Type(_)) | Output::CountRows) => Ok(OrderBy::Column(column)),
            Some(Output::Aggregate { function, .. }) if *function != Function::Collect => Ok(OrderBy::Column(column)),
            _ => Err(self.no_order(at)),
        }
    }

    fn no_order(&self, at: usize) -> Error {
        self.error(at, "nodes, edges and lists have no order").with_hint("order by a property, such as `a.id`")
    }

    fn optional_variable(&mut self) -> Result<Option<String>> {
        if matches!(self.peek(), TokenKind::Name(_)) { self.variable().map(Some) } else { Ok(None) }
    }

    /// The name of a variable, or what comes in its place.
    fn variable(&mut self) -> Result<String> {
        let at = self.here();
        if matches!(self.peek(), TokenKind::Name(name) if is_keyword(name) || is_write(name)) {
            return Err(self.unexpected("a name"));
        }
        let name = self.name("a name")?;
        if name.starts_with('_') {
            return Err(self.error(at, "names do not start with `_`"));
        }
        Ok(name)
    }

    fn name(&mut self, what: &str) -> Result<String> {
        let TokenKind::Name(name) = self.peek().clone() else { return Err(self.unexpected(what)) };
        self.at += 1;
        Ok(name)
    }

    fn whole_number(&mut self) -> Result<u64> {
        match self.optional_number()? {
            Some(number) => Ok(number),
            None => Err(self.unexpected("a whole number")),
        }
    }

    fn optional_number(&mut self) -> Result<Option<u64>> {
        let TokenKind::Integer(number) = *self.peek() else { return Ok(None) };
        self.at += 1;
        Ok(u64::try_from(number).ok())
    }

    fn peek(&self) -> &TokenKind {
        self.tokens.get(self.at).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn here(&self) -> usize {
        self.tokens.get(self.at).map_or(self.query.len(), |token| token.at)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is_it = matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol);
        self.at += usize::from(is_it);
        is_it
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = matches!(self.peek(), TokenKind::Name(name) if name.eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }

    fn symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = self.peek();
        if let TokenKind::Name(name) = found
            && is_write(name)
        {
            return self.error(self.here(), format!("the graph can only be read: there is no `{name}`")).with_hint(POSSIBLE);
        }
        self.error(self.here(), format!("expected {wanted}, found {}", found.describe())).with_hint(POSSIBLE)
    }

    fn error(&self, at: usize, message: impl std::fmt::Display) -> Error {
        error_at(self.query, at, message)
    }
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.iter().any(|keyword| name.eq_ignore_ascii_case(keyword))
}

fn is_write(name: &str) -> bool {
    WRITES.iter().any(|write| name.eq_ignore_ascii_case(write))
}
