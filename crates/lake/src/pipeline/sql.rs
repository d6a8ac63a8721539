//! SQL inside a pipeline: parsing it, and finding the place in the file of every part of it.

use std::sync::Arc;

use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span as SqlSpan, Token, TokenWithSpan, Tokenizer};

use super::fact;
use super::origin::Origin;
use crate::diagnostic::{Diagnostic, Source, Span, Spanned};

/// Words without a comma or a clause between them. The parser makes a tree of a longer chain that is too deep to be dropped safely.
const MAX_CHAIN: usize = 4_000;

/// Queries joined by `UNION` and the like, which nest in the same way.
const MAX_SET_OPERATORS: usize = 100;

/// One SQL text of a pipeline file.
pub(super) struct SqlText<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    origin: Origin,
}

impl<'a> SqlText<'a> {
    pub(super) fn new(source: &'a Arc<Source>, sql: &'a Spanned<String>) -> Self {
        Self { source, text: &sql.value, origin: Origin::new(source, sql.span, &sql.value) }
    }

    /// The place of the whole text.
    pub(super) fn whole(&self) -> Span {
        self.origin.whole()
    }

    /// The place of a range that the SQL parser gave; the whole text when it gave none.
    pub(super) fn span(&self, span: SqlSpan) -> Span {
        match (self.offset(span.start), self.offset(span.end)) {
            (Some(start), Some(end)) => self.origin.span(start..end.max(start + 1)),
            _ => self.whole(),
        }
    }

    /// As [`Self::span`], with the brackets that the parser leaves out of the place of a call.
    pub(super) fn expression_span(&self, span: SqlSpan) -> Span {
        let (Some(start), Some(end)) = (self.offset(span.start), self.offset(span.end)) else { return self.whole() };
        let open = |text: &str| text.matches('(').count().saturating_sub(text.matches(')').count());
        let mut depth = self.text.get(start..end).map_or(0, open);
        let rest = self.text.get(end..).unwrap_or_default();
        let mut end = end;
        if depth > 0 || rest.starts_with('(') {
            for (at, c) in rest.char_indices() {
                depth = match c {
                    '(' => depth + 1,
                    ')' => depth - 1,
                    _ => depth,
                };
                if depth == 0 {
                    end += at + 1;
                    break;
                }
            }
        }
        self.origin.span(start..end.max(start + 1))
    }

    /// A byte of the text, from the parser's line and column.
    pub(super) fn offset(&self, location: Location) -> Option<usize> {
        offset(self.text, location)
    }

    /// The word at a byte of the text.
    pub(super) fn word_at(&self, at: usize) -> Span {
        let rest = self.text.get(at..).unwrap_or_default();
        if rest.trim().is_empty() {
            return self.last_word();
        }
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.origin.span(at..at + length.max(1))
    }

    /// Where the text ends: what is missing there is missing after this word.
    pub(super) fn last_word(&self) -> Span {
        let end = self.text.trim_end().len();
        let start = self.text.get(..end).and_then(|t| t.rfind(char::is_whitespace)).map_or(0, |at| at + 1);
        self.origin.span(start..end.max(start + 1))
    }

    /// `message` without what variables hold.
    pub(super) fn redact(&self, message: &str) -> String {
        self.origin.redact(message)
    }

    /// An error at `span`. What variables hold is taken out of the message.
    pub(super) fn error(&self, code: &'static str, span: Span, message: impl AsRef<str>) -> Diagnostic {
        Diagnostic::error(code, self.source, span, self.redact(message.as_ref()))
    }

    /// The text as one expression.
    pub(super) fn parse_expression(&self) -> Result<ast::Expr, Diagnostic> {
        let mut parser = self.parser()?;
        let expression = parser.parser.parse_expr().map_err(|e| self.parser_error(&e))?;
        let next = parser.parser.peek_token();
        match &next.token {
            Token::EOF if fact::is_too_deep(&expression) => Err(self.too_long(self.whole())),
            Token::EOF => Ok(expression),
            Token::Word(word) if word.keyword == Keyword::AS => Err(self
                .error("sql-syntax", self.span(next.span), "an expression has no `AS`")
                .with_help("the column's name is the key before the colon")),
            Token::SemiColon => Err(self
                .error("sql-syntax", self.span(next.span), "an expression does not end with `;`")
                .with_help("leave the `;` out")),
            token => Err(self.error("sql-syntax", self.span(next.span), format!("the expression does not go on with `{token}`"))),
        }
    }

    /// The text as one query.
    pub(super) fn parse_query(&self) -> Result<ast::Query, Diagnostic> {
        let mut statements = self.parser()?.parse_statements().map_err(|e| self.planner_error(&e, &[]))?;
        let only = statements.pop_front();
        if !statements.is_empty() {
            let help = "give each query a gold table of its own";
            return Err(self.error("not-allowed", self.whole(), "a gold table is one query").with_help(help));
        }
        match only {
            Some(Statement::Statement(statement)) => match *statement {
                ast::Statement::Query(query) if fact::is_too_deep(&query) => Err(self.too_long(self.whole())),
                ast::Statement::Query(query) => Ok(*query),
                _ => Err(self.not_a_query()),
            },
            Some(_) => Err(self.not_a_query()),
            None => Err(self.error("sql-syntax", self.whole(), "there is no query").with_help("write `SELECT ... FROM ...`")),
        }
    }

    fn too_long(&self, span: Span) -> Diagnostic {
        let help = "break it up, for example with `IN (...)` or with a gold table for a part of it";
        self.error("sql", span, "this chain of operators is too long to be planned").with_help(help)
    }

    /// The finding about a statement that does something else than ask.
    pub(super) fn not_a_query(&self) -> Diagnostic {
        let first = self.text.len() - self.text.trim_start().len();
        let word = self.text.get(first..).and_then(|t| t.split_whitespace().next()).map_or(0, str::len);
        let help = "write `SELECT ...` or `WITH ... SELECT ...`; the platform writes the result into the table";
        self.error("not-allowed", self.origin.span(first..first + word), "only a query is allowed here").with_help(help)
    }

    /// The text in the form that any session plans as it was planned here: see [`hidden_names`].
    pub(super) fn plannable(&self) -> String {
        quote_hidden_names(self.text)
    }

    fn parser(&self) -> Result<DFParser<'static>, Diagnostic> {
        let mut tokens = Tokenizer::new(&GenericDialect {}, self.text)
            .tokenize_with_location()
            .map_err(|e| self.parser_error(&ParserError::TokenizerError(e.to_string())))?;
        for at in hidden_names(&tokens) {
            if let Some(Token::Word(word)) = tokens.get_mut(at).map(|t| &mut t.token) {
                word.quote_style = Some('"');
                word.keyword = Keyword::NoKeyword;
            }
        }
        if let Some(at) = too_long_chain(&tokens) {
            return Err(self.too_long(self.span(at)));
        }
        DFParserBuilder::new(tokens).build().map_err(|e| self.planner_error(&e, &[]))
    }

    /// The place of what the planner has kept the position of.
    pub(super) fn planned_span(&self, span: &datafusion::common::Span) -> Span {
        let location = |l: &datafusion::common::Location| Location { line: l.line, column: l.column };
        self.span(SqlSpan { start: location(&span.start), end: location(&span.end) })
    }
}

/// The words that the SQL parser takes for functions though they have no brackets and DataFusion has no such functions: `user` is a
/// common column, and `user.name` its field.
fn hidden_names(tokens: &[TokenWithSpan]) -> Vec<usize> {
    let is_call = |at: usize| {
        let rest = tokens.iter().skip(at + 1).map(|t| &t.token);
        matches!(rest.into_iter().find(|t| !matches!(t, Token::Whitespace(_))), Some(Token::LParen))
    };
    let is_hidden = |token: &Token| match token {
        Token::Word(word) => {
            use Keyword as K;
            let taken = matches!(word.keyword, K::USER | K::CURRENT_USER | K::SESSION_USER | K::CURRENT_CATALOG);
            taken && word.quote_style.is_none()
        }
        _ => false,
    };
    let hidden = tokens.iter().enumerate().filter(|(_, t)| is_hidden(&t.token)).map(|(at, _)| at);
    hidden.filter(|at| !is_call(*at)).collect()
}

/// `sql` with those names in double quotes that the parser would take for functions, such as `user`. A session that is asked
/// `SELECT user.name` needs it this way.
pub fn quote_hidden_names(sql: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else { return sql.to_owned() };
    let mut quoted = String::with_capacity(sql.len() + 8);
    let mut from = 0;
    for token in hidden_names(&tokens).into_iter().filter_map(|at| tokens.get(at)) {
        let (Some(start), Some(end)) = (offset(sql, token.span.start), offset(sql, token.span.end)) else { continue };
        let (Some(before), Some(word)) = (sql.get(from..start), sql.get(start..end)) else { continue };
        quoted.extend([before, "\"", word, "\""]);
        from = end;
    }
    quoted.push_str(sql.get(from..).unwrap_or_default());
    quoted
}

/// A byte of `text`, from the parser's line and column, which count from 1 and in characters.
fn offset(text: &str, location: Location) -> Option<usize> {
    let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
    let column = usize::try_from(location.column.checked_sub(1)?).ok()?;
    let start = match line {
        0 => 0,
        _ => text.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let rest = text.get(start..)?;
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
}

/// Where a chain of operators becomes too long. Commas and the words that start a clause end a chain; what surrounds a bracket
/// counts inside of it.
fn too_long_chain(tokens: &[TokenWithSpan]) -> Option<SqlSpan> {
    let mut outer: Vec<usize> = Vec::new();
    let mut current = 0_usize;
    let mut total = 0_usize;
    let mut set_operators = 0_usize;
    for token in tokens {
        if let Token::Word(word) = &token.token {
            set_operators += usize::from(matches!(word.keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT));
        }
        match &token.token {
            Token::Whitespace(_) => {}
            Token::LParen | Token::LBracket | Token::LBrace => outer.push(std::mem::take(&mut current)),
            Token::RParen | Token::RBracket | Token::RBrace => {
                if let Some(before) = outer.pop() {
                    total -= std::mem::replace(&mut current, before);
                }
            }
            Token::Comma | Token::SemiColon => total -= std::mem::take(&mut current),
            Token::Word(word) if ends_chain(word.keyword) => total -= std::mem::take(&mut current),
            _ => {
                current += 1;
                total += 1;
            }
        }
        if total > MAX_CHAIN || set_operators > MAX_SET_OPERATORS {
            return Some(token.span);
        }
    }
    None
}

fn ends_chain(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(keyword, K::WHEN | K::THEN | K::ELSE | K::FROM | K::WHERE | K::GROUP | K::ORDER | K::HAVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sql<T>(sql: &str, check: impl FnOnce(&SqlText<'_>) -> T) -> T {
        let source = Arc::new(Source { path: "p.yaml".to_owned(), text: sql.to_owned() });
        let text = Spanned::new(sql.to_owned(), Span::new(0, sql.len()));
        check(&SqlText::new(&source, &text))
    }

    fn refused(sql: &str) -> (String, String) {
        with_sql(sql, |text| {
            let found = text.parse_query().unwrap_err();
            (found.message, sql[found.span.range()].to_owned())
        })
    }

    #[test]
    fn only_one_query_is_allowed() {
        assert_eq!(refused("DROP TABLE silver.posts"), ("only a query is allowed here".to_owned(), "DROP".to_owned()));
        for sql in [
            "COPY silver.posts TO 'x'",
            "INSERT INTO silver.a SELECT 1",
            "EXPLAIN SELECT 1",
            "SET a = 1",
            "CREATE TABLE t AS SELECT 1",
        ] {
            assert_eq!(refused(sql).0, "only a query is allowed here", "{sql}");
        }
        assert_eq!(refused("SELECT 1; SELECT 2").0, "a gold table is one query");
        assert_eq!(refused(" -- nothing\n").0, "there is no query");
        assert!(with_sql("SELECT 1;", |text| text.parse_query().is_ok()));
    }

    #[test]
    fn a_syntax_error_points_at_the_word_the_parser_stumbled_over() {
        assert_eq!(refused("SELECT a\nFRM silver.posts p").1, "silver");
        assert_eq!(refused("SELECT (a + 1 FROM t").1, "FROM");
        assert_eq!(refused("SELECT 'größe").1, "'");
        assert_eq!(refused("SELECT a FROM").1, "FROM");
    }

    #[test]
    fn an_expression_ends_where_it_ends() {
        let wrong = |sql: &str| with_sql(sql, |text| text.parse_expression().unwrap_err().message);
        assert_eq!(wrong("a + b AS c"), "an expression has no `AS`");
        assert_eq!(wrong("a b"), "the expression does not go on with `b`");
        assert_eq!(wrong("a;"), "an expression does not end with `;`");
    }

    #[test]
    fn a_chain_that_would_exhaust_the_stack_is_refused_and_a_long_list_is_not() {
        let chain = format!("a{}", " + 1".repeat(100_000));
        assert!(with_sql(&chain, |text| text.parse_expression().is_err()));
        assert!(with_sql(&format!("a{}", " IS NULL".repeat(100_000)), |text| text.parse_expression().is_err()));
        assert!(with_sql(&"(".repeat(100_000), |text| text.parse_expression().is_err()));
        assert!(with_sql(&"-".repeat(100_000), |text| text.parse_expression().is_err()));
        assert!(with_sql(&"not ".repeat(100_000), |text| text.parse_expression().is_err()));
        let list = format!("a IN (0{})", ", 1".repeat(100_000));
        assert!(with_sql(&list, |text| text.parse_expression().is_ok()));
        assert!(with_sql(&format!("SELECT 1{}", " UNION SELECT 1".repeat(10_000)), |text| text.parse_query().is_err()));
        let parsed_but_deep = format!("a{}", " + 1".repeat(MAX_CHAIN / 2 - 1));
        assert!(with_sql(&parsed_but_deep, |text| text.parse_expression().is_err()));
        let allowed = format!("a{}", " + 1".repeat(fact::MAX_DEPTH - 1));
        assert!(with_sql(&allowed, |text| text.parse_expression().is_ok()));
    }

    #[test]
    fn a_column_named_user_is_a_column() {
        assert_eq!(quote_hidden_names("SELECT größe, user.name, USER FROM t"), "SELECT größe, \"user\".name, \"USER\" FROM t");
        for sql in ["SELECT current_user (), 'user' -- user", "SELECT \"user\"", "SELECT 'open"] {
            assert_eq!(quote_hidden_names(sql), sql);
        }
        let parsed = with_sql("user.name", |text| text.parse_expression().unwrap());
        assert!(matches!(parsed, ast::Expr::CompoundIdentifier(parts) if parts.len() == 2));
    }
}
