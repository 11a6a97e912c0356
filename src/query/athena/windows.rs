//! Windows by name: the engine knows `OVER w` in the columns of a result, but neither `OVER (w ...)` nor windows of other windows,
//! and none in ORDER BY. So each is written out.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut, WindowSpec, WindowType,
};

/// Writes out the windows of a query that is one SELECT.
///
/// # Errors
/// A message when there is no such window, or it cannot be taken so.
pub(super) fn write_out_of_query(query: &mut Query) -> Result<(), String> {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = &mut **body else { return Ok(()) };
    let mut windows = Windows::of(select)?;
    windows.visit(&mut select.projection)?;
    windows.visit(order_by)
}

/// Writes out the windows of a SELECT that is a part of a query.
///
/// # Errors
/// As [`write_out_of_query`].
pub(super) fn write_out(select: &mut Select) -> Result<(), String> {
    let mut windows = Windows::of(select)?;
    windows.visit(&mut select.projection)
}

struct Windows {
    /// By names in small letters.
    named: Vec<(String, WindowSpec)>,
    /// How many queries there are around: names belong to one of them.
    depth: usize,
}

impl Windows {
    /// Takes the definitions.
    fn of(select: &mut Select) -> Result<Self, String> {
        let mut windows = Self { named: Vec::new(), depth: 0 };
        for definition in std::mem::take(&mut select.named_window) {
            let window = match definition.1 {
                NamedWindowExpr::NamedWindow(name) => windows.get(&name.value)?.clone(),
                NamedWindowExpr::WindowSpec(mut window) => {
                    windows.complete(&mut window)?;
                    window
                }
            };
            let name = definition.0.value.to_lowercase();
            if windows.named.iter().any(|(other, _)| *other == name) {
                return Err(format!("the window {name} is defined twice"));
            }
            windows.named.push((name, window));
        }
        Ok(windows)
    }

    fn visit(&mut self, part: &mut impl VisitMut) -> Result<(), String> {
        if self.named.is_empty() {
            return Ok(());
        }
        match part.visit(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(message) => Err(message),
        }
    }

    fn get(&self, name: &str) -> Result<&WindowSpec, String> {
        let lower = name.to_lowercase();
        let found = self.named.iter().find(|(other, _)| *other == lower);
        found.map(|(_, window)| window).ok_or_else(|| no_window(name))
    }

    /// Gives a window what the one has that it names.
    fn complete(&self, window: &mut WindowSpec) -> Result<(), String> {
        let Some(name) = window.window_name.take() else { return Ok(()) };
        let base = self.get(&name.value)?;
        if !window.partition_by.is_empty() {
            return Err(format!("a window that is {name} cannot have a PARTITION BY of its own"));
        }
        if !(window.order_by.is_empty() || base.order_by.is_empty()) {
            return Err(format!("a window that is {name}, which has an ORDER BY, cannot have another"));
        }
        if base.window_frame.is_some() {
            return Err(format!("the window {name} has a frame, and can be taken as it is only: OVER {name}"));
        }
        window.partition_by.clone_from(&base.partition_by);
        if window.order_by.is_empty() {
            window.order_by.clone_from(&base.order_by);
        }
        Ok(())
    }
}

/// What is said of a window that is named nowhere.
pub(super) fn no_window(name: &str) -> String {
    format!("there is no window {name}")
}

impl VisitorMut for Windows {
    type Break = String;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let written = match over {
            WindowType::NamedWindow(name) => self.get(&name.value).cloned().map(|window| {
                *over = WindowType::WindowSpec(window);
            }),
            WindowType::WindowSpec(window) => self.complete(window),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => ControlFlow::Break(message),
        }
    }
}
