//! How deep a statement may be. The engine walks expressions and plans by recursion, in the stacks of its threads: what is too
//! deep for these would abort the process, and with it the statements of all others.
//!
//! Parentheses are bounded by the parser. What grows deep without them is bounded here: chains of operators (`a AND b AND c` is
//! as deep as it is long) before they are parsed, relations before they are planned, and plans before they are optimized.

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{TableFactor, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Bytes of stack of a thread that carries out statements. Builds without optimization have larger frames.
pub const STACK_BYTES: usize = if cfg!(debug_assertions) { 64 << 20 } else { 16 << 20 };
/// The most operators in a chain.
const MOST_OPERATORS: usize = 2000;
/// The most relations that a statement names.
const MOST_RELATIONS: usize = 1000;
/// The most steps of a plan, one in another, with the operators of their expressions.
const MOST_STEPS: usize = MOST_OPERATORS + 500;

/// Refuses text with chains that are too long.
///
/// # Errors
/// When there is one.
pub(super) fn check_text(sql: &str) -> Result<()> {
    // What is no SQL is told by the parser.
    let Ok(tokens) = Tokenizer::new(&GenericDialect, sql).tokenize() else { return Ok(()) };
    if depth(&tokens) <= MOST_OPERATORS {
        return Ok(());
    }
    let message = format!(
        "more than {MOST_OPERATORS} operators are chained, which is too deep for the engine (IN takes a list of any length)"
    );
    Err(DataFusionError::Plan(message))
}

/// What stands between two parentheses, or CASE and END.
#[derive(Default)]
struct Level {
    is_case: bool,
    /// UNION and its like, and JOIN: commas between them do not end their chain.
    sets: usize,
    /// Since the last comma: conditions that are joined,
    joined: usize,
    /// operators since the last of these,
    chained: usize,
    /// the most of them between two,
    longest: usize,
    /// and how deep the deepest level inside is.
    inside: usize,
    /// The depth of the deepest part before that comma.
    deepest: usize,
}

impl Level {
    fn join(&mut self) {
        self.joined += 1;
        self.longest = self.longest.max(self.chained);
        self.chained = 0;
    }

    fn end_part(&mut self) {
        let longest = self.longest.max(self.chained);
        self.deepest = self.deepest.max(self.joined + longest + self.inside);
        (self.joined, self.chained, self.longest, self.inside) = (0, 0, 0, 0);
    }

    fn depth(mut self) -> usize {
        self.end_part();
        self.sets + self.deepest
    }
}

/// How deep the expressions and queries of a text may become.
fn depth(tokens: &[Token]) -> usize {
    let mut open = vec![Level::default()];
    for token in tokens {
        let Some(level) = open.last_mut() else { break };
        let mut closes = false;
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // x[1][1] is a chain, too.
                level.chained += usize::from(*token == Token::LBracket);
                open.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => closes = true,
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::CASE => open.push(Level { is_case: true, ..Level::default() }),
                Keyword::END => closes = level.is_case,
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.end_part(),
                Keyword::AND | Keyword::OR | Keyword::XOR => level.join(),
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS | Keyword::JOIN => {
                    level.sets += 1;
                }
                Keyword::IS
                | Keyword::NOT
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::DIV
                | Keyword::AT
                | Keyword::OVERLAPS
                | Keyword::NOTNULL => level.chained += 1,
                _ => {}
            },
            Token::Comma => level.end_part(),
            _ if is_operator(token) => level.chained += 1,
            _ => {}
        }
        // What closes nothing is told by the parser.
        if closes && open.len() > 1 {
            let inside = open.pop().map_or(0, Level::depth);
            if let Some(around) = open.last_mut() {
                around.inside = around.inside.max(inside);
            }
        }
    }
    open.into_iter().map(Level::depth).sum()
}

/// Whether a token is neither a word nor a value, nor white space.
fn is_operator(token: &Token) -> bool {
    // Values and words are written with a letter, a digit or a quote in them.
    !matches!(token, Token::Whitespace(_) | Token::SemiColon | Token::EOF)
        && !token.to_string().contains(|c: char| c.is_alphanumeric() || matches!(c, '\'' | '"' | '_'))
}

/// Refuses a statement with too many relations.
///
/// # Errors
/// When it has.
pub(super) fn check_statement(statement: &Statement) -> Result<()> {
    struct Counter(usize);

    impl Visitor for Counter {
        type Break = ();

        fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > MOST_RELATIONS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    match statement {
        Statement::Statement(statement) if statement.visit(&mut Counter(0)).is_break() => {
            Err(DataFusionError::Plan(format!("more than {MOST_RELATIONS} relations are too many for the engine")))
        }
        Statement::Explain(explain) => check_statement(&explain.statement),
        _ => Ok(()),
    }
}

/// Refuses a plan that is too deep.
///
/// # Errors
/// When it is.
pub(super) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    struct Steps {
        /// What each step around weighs.
        around: Vec<usize>,
        now: usize,
    }

    impl<'n> TreeNodeVisitor<'n> for Steps {
        type Node = LogicalPlan;

        fn f_down(&mut self, plan: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
            let mut deepest = 0;
            plan.apply_expressions(|expr| {
                let mut depth = Depth { now: 0, deepest: 0 };
                expr.visit(&mut depth)?;
                deepest = deepest.max(depth.deepest);
                Ok(TreeNodeRecursion::Continue)
            })?;
            self.around.push(1 + deepest);
            self.now += 1 + deepest;
            bounded(self.now)
        }

        fn f_up(&mut self, _: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
            self.now -= self.around.pop().unwrap_or(0);
            Ok(TreeNodeRecursion::Continue)
        }
    }

    struct Depth {
        now: usize,
        deepest: usize,
    }

    impl<'n> TreeNodeVisitor<'n> for Depth {
        type Node = Expr;

        fn f_down(&mut self, _: &'n Expr) -> Result<TreeNodeRecursion> {
            self.now += 1;
            self.deepest = self.deepest.max(self.now);
            bounded(self.now)
        }

        fn f_up(&mut self, _: &'n Expr) -> Result<TreeNodeRecursion> {
            self.now -= 1;
            Ok(TreeNodeRecursion::Continue)
        }
    }

    fn bounded(steps: usize) -> Result<TreeNodeRecursion> {
        if steps > MOST_STEPS {
            let message = format!("a plan of more than {MOST_STEPS} steps in each other is too deep for the engine");
            return Err(DataFusionError::Plan(message));
        }
        Ok(TreeNodeRecursion::Continue)
    }

    plan.visit_with_subqueries(&mut Steps { around: Vec::new(), now: 0 }).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    fn depth_of(sql: &str) -> usize {
        depth(&Tokenizer::new(&GenericDialect, sql).tokenize().unwrap())
    }

    #[test]
    fn chains_of_operators_are_as_deep_as_they_are_long() {
        assert_eq!(depth_of("SELECT 1"), 0);
        assert_eq!(depth_of("SELECT 1 + 2 + 3 - x"), 3);
        assert_eq!(depth_of("SELECT a FROM t WHERE a = 1 AND b = 2 AND c + 1 = 2"), 4);
        assert_eq!(depth_of("SELECT a IS NULL IS NULL, b[1][2][3]"), 3);
        assert_eq!(depth_of("SELECT 'a+b+c' || \"x-y-z\" || 1e5"), 2);
        assert_eq!(depth_of("SELECT a, b FROM t UNION SELECT a, b FROM t UNION SELECT a, b FROM t"), 2);
    }

    #[test]
    fn commas_and_the_parts_of_a_case_end_a_chain() {
        assert_eq!(depth_of("SELECT 1 + 1, 1 + 1, 1 + 1"), 1);
        assert_eq!(depth_of("SELECT a IN (-1, -2, -3, -4)"), 2);
        assert_eq!(depth_of("SELECT CASE WHEN a = 1 THEN 1 WHEN a = 2 THEN 2 WHEN a = 3 THEN 3 END"), 1);
        assert_eq!(depth_of("SELECT CASE WHEN a = 1 THEN 1 END + CASE WHEN a = 2 THEN 2 END + 1"), 3);
    }

    #[test]
    fn chains_in_each_other_add_up() {
        assert_eq!(depth_of("SELECT 1 + 1 + (1 + 1 + (1 + 1))"), 5);
        assert_eq!(depth_of("SELECT (1 + 1) + (1 + 1)"), 2);
        // Without an end.
        assert_eq!(depth_of("SELECT 1 + (1 + (1 + 1"), 3);
        assert_eq!(depth_of("SELECT 1)))) + 1"), 1);
    }
}
