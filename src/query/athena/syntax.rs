//! The grammar: what DataFusion's parser takes, lambdas, and types as Athena writes them.

use std::any::TypeId;

use datafusion::error::{DataFusionError, Result};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};

use super::addresses::ADDRESS;

/// How deep expressions and queries may be nested.
const MAX_DEPTH: usize = 50;

/// DataFusion's grammar with lambdas.
#[derive(Debug)]
struct AthenaDialect;

impl Dialect for AthenaDialect {
    /// Parts of the parser ask for a dialect by its type.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '@' || ch == '$'
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    /// IS DISTINCT FROM takes a value: a comparison, AND and OR behind it are not part of that.
    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let is_not = parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]);
        if !is_not && !parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            return None;
        }
        let left = Box::new(expr.clone());
        let right = parser.parse_subexpr(self.prec_value(Precedence::Eq)).map(Box::new);
        Some(right.map(|right| match is_not {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }))
    }
}

/// Parses statements. The target type of each cast is kept as text, for [`super::types`] to read.
pub(super) fn parse(sql: &str) -> Result<Vec<Statement>> {
    let tokens = Tokenizer::new(&AthenaDialect, sql)
        .tokenize_with_location()
        .map_err(|error| DataFusionError::from(ParserError::from(error)))?;
    let mut parser =
        DFParserBuilder::new(call_addresses(drop_for(quote_cast_types(wrap_values(select_values(tokens))))))
            .with_dialect(&AthenaDialect)
            .with_recursion_limit(MAX_DEPTH)
            .build()?;
    Ok(parser.parse_statements()?.into())
}

/// Writes `FOR VERSION AS OF` and `FOR TIMESTAMP AS OF` without FOR, as the parser takes them.
fn drop_for(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let keyword = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let is_extra = |at: usize| {
        keyword(at) == Keyword::FOR
            && matches!(keyword(at + 1), Keyword::VERSION | Keyword::TIMESTAMP)
            && keyword(at + 2) == Keyword::AS
            && keyword(at + 3) == Keyword::OF
    };
    let extra: Vec<bool> = (0..tokens.len()).map(is_extra).collect();
    tokens.into_iter().zip(extra).filter(|(_, is_extra)| !is_extra).map(|(token, _)| token).collect()
}

/// Writes `IPADDRESS '10.0.0.1'` as a call, as the parser takes no such type before a text.
fn call_addresses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let span = token.span;
        let is_text = matches!(token.token, Token::SingleQuotedString(_));
        let is_type = |last: &TokenWithSpan| matches!(&last.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("ipaddress"));
        match out.last_mut().filter(|last| is_text && is_type(last)) {
            Some(last) => {
                last.token = Token::make_word(ADDRESS, None);
                let around = |token| TokenWithSpan { token, span };
                out.extend([around(Token::LParen), token, around(Token::RParen)]);
            }
            None => out.push(token),
        }
    }
    out
}

/// Writes `IN (VALUES 1, 2)` as `IN (SELECT * FROM (VALUES 1, 2))`, and so behind comparisons and SELECT, where the parser takes no
/// VALUES.
fn select_values(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let takes_query = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(word.keyword, Keyword::IN | Keyword::ANY | Keyword::SOME | Keyword::ALL | Keyword::SELECT)
        }
        Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        _ => false,
    };
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // How deep the parentheses are that are put around.
    let mut added: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(token) = tokens.next() {
        let span = token.span;
        let sign = |token| TokenWithSpan { token, span };
        let before = out.last().is_some_and(|last| takes_query(&last.token));
        match token.token {
            Token::LParen => {
                depth += 1;
                out.push(token);
                let is_values = |word: &Word| word.quote_style.is_none() && word.keyword == Keyword::VALUES;
                let next = tokens.next_if(|next| before && matches!(&next.token, Token::Word(word) if is_values(word)));
                let Some(values) = next else { continue };
                // A column may have this name.
                let is_column = tokens
                    .peek()
                    .is_none_or(|next| matches!(next.token, Token::RParen | Token::Comma | Token::Period | Token::EOF));
                if !is_column {
                    let word = |word| Token::make_word(word, None);
                    out.extend([word("SELECT"), Token::Mul, word("FROM"), Token::LParen].map(sign));
                    added.push(depth);
                }
                out.push(values);
            }
            Token::RParen => {
                if added.last() == Some(&depth) {
                    added.pop();
                    out.push(sign(Token::RParen));
                }
                depth = depth.saturating_sub(1);
                out.push(token);
            }
            _ => out.push(token),
        }
    }
    out
}

/// Writes `VALUES 1, 2` as `VALUES (1), (2)`.
fn wrap_values(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let keyword = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // How deep the values are that are wrapped.
    let mut wrapped: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(token) = tokens.next() {
        // A column may be named `values`, and something be taken from it.
        let begins = out.last().is_none_or(|last| last.token == Token::LParen || keyword(&last.token) == Keyword::ALL);
        let sign = |token: Token| TokenWithSpan::new(token, Span::empty());
        let is_inside = wrapped.last() == Some(&depth);
        let ends = matches!(token.token, Token::Comma | Token::RParen | Token::SemiColon | Token::EOF)
            || matches!(
                keyword(&token.token),
                Keyword::ORDER
                    | Keyword::LIMIT
                    | Keyword::OFFSET
                    | Keyword::FETCH
                    | Keyword::UNION
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
            );
        if is_inside && ends {
            out.push(sign(Token::RParen));
            if token.token == Token::Comma {
                out.push(token);
                out.push(sign(Token::LParen));
                continue;
            }
            wrapped.pop();
        }
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_values = keyword(&token.token) == Keyword::VALUES;
        out.push(token);
        let is_bare = tokens.peek().is_some_and(|next| match &next.token {
            Token::LParen | Token::Comma | Token::RParen | Token::Period | Token::EOF => false,
            Token::Word(word) => !matches!(word.keyword, Keyword::FROM | Keyword::AS | Keyword::ROW),
            Token::Plus | Token::Minus if begins => true,
            Token::Eq | Token::Lt | Token::Gt | Token::Plus | Token::Minus | Token::Mul | Token::Div => false,
            _ => true,
        });
        if is_values && is_bare {
            wrapped.push(depth);
            out.push(sign(Token::LParen));
        }
    }
    if wrapped.last() == Some(&depth) {
        out.push(TokenWithSpan::new(Token::RParen, Span::empty()));
    }
    out
}

/// Replaces the type in each `CAST(... AS type)` by one quoted word, for the parser does not take `array(row(a bigint))`.
fn quote_cast_types(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // For each open parenthesis, whether it is that of a cast.
    let mut open: Vec<bool> = Vec::new();
    let mut last = None;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let keyword = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
            _ => None,
        };
        match &token.token {
            Token::LParen => open.push(matches!(last, Some(Keyword::CAST | Keyword::TRY_CAST))),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
        if !matches!(token.token, Token::Whitespace(_)) {
            last = keyword;
        }
        let is_before_type = keyword == Some(Keyword::AS) && open.last() == Some(&true);
        let span = token.span;
        out.push(token);
        if !is_before_type {
            continue;
        }
        let mut text = String::new();
        let mut depth = 0;
        while let Some(next) = tokens.peek() {
            match next.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                _ => {}
            }
            text.push_str(&next.token.to_string());
            text.push(' ');
            tokens.next();
        }
        let name = Word { value: text.trim().to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
        out.push(TokenWithSpan { token: Token::Word(name), span });
    }
    out
}
