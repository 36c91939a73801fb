//! From text to a tree in which each reference to the change has a name of its own.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue,
    SourceInfo, operators,
};
use cel::{ParseError, ParseErrors};
use regex::Regex;

use super::functions::{self, Before, NAMESPACES, TYPES, VARIABLES};
use super::{ExpressionError, Form, Image, Parsed, Reference, bounded, budget, ours};

/// Deeper expressions are refused: the interpreter recurses.
const DEPTH_MAX: usize = 64;

/// Parses and checks a text.
pub(super) fn parse(source: &str) -> Result<Parsed, ExpressionError> {
    let parser = ours::environment().parser().enable_ident_escape_syntax(true);
    let parsed = parser.parse_with_source_info(source);
    let (tree, info) = parsed.map_err(|errors| syntax(source, &errors))?;
    let mut lowering =
        Lowering { info: &info, references: vec![], patterns: vec![], bound: vec![], depth: 0 };
    let tree = lowering.expr(tree)?;
    let Lowering { references, patterns, .. } = lowering;
    Ok(Parsed { tree, references, patterns })
}

/// Tells the first thing that is wrong with the grammar.
fn syntax(source: &str, errors: &ParseErrors) -> ExpressionError {
    let first = errors.errors.first();
    let message = first.map_or("can't be read", |error| error.msg.as_str());
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    ExpressionError {
        offset: first.and_then(|error| offset(source, error)),
        message: format!("is no expression: {}", message.replace('`', "")),
    }
}

fn offset(source: &str, error: &ParseError) -> Option<usize> {
    let (line, column) = error.pos;
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let start: usize = source.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let within = source.get(start..)?.char_indices().nth(column.saturating_sub(1));
    Some(within.map_or(source.len(), |(at, _)| start + at))
}

struct Lowering<'i> {
    info: &'i SourceInfo,
    references: Vec<Reference>,
    patterns: Vec<Regex>,
    /// The variables of the macros that are open.
    bound: Vec<String>,
    depth: usize,
}

impl Lowering<'_> {
    fn expr(&mut self, expr: IdedExpr) -> Result<IdedExpr, ExpressionError> {
        let id = expr.id;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.problem(id, "is nested too deep; make two fields of it"));
        }
        if let Some(lowered) = self.reference(&expr) {
            self.depth -= 1;
            return Ok(IdedExpr { id, expr: lowered });
        }
        let lowered = match expr.expr {
            Expr::Call(call) => self.call(id, call)?,
            Expr::Comprehension(comprehension) => self.comprehension(*comprehension)?,
            Expr::Ident(name) => {
                self.name(id, &name)?;
                Expr::Ident(name)
            }
            Expr::Select(mut select) => {
                *select.operand = self.expr(std::mem::take(&mut *select.operand))?;
                Expr::Select(select)
            }
            Expr::List(mut list) => {
                list.elements = self.exprs(list.elements)?;
                Expr::List(list)
            }
            Expr::Map(mut map) => {
                map.entries = map
                    .entries
                    .into_iter()
                    .map(|entry| self.entry(entry))
                    .collect::<Result<_, _>>()?;
                Expr::Map(map)
            }
            Expr::Struct(_) => {
                return Err(self.problem(id, "makes a message, of which there are none; use a map"));
            }
            other @ (Expr::Literal(_) | Expr::Unspecified) => other,
        };
        self.depth -= 1;
        Ok(IdedExpr { id, expr: lowered })
    }

    fn exprs(&mut self, exprs: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, ExpressionError> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn entry(&mut self, mut entry: IdedEntryExpr) -> Result<IdedEntryExpr, ExpressionError> {
        if let EntryExpr::MapEntry(pair) = &mut entry.expr {
            pair.key = self.expr(std::mem::take(&mut pair.key))?;
            pair.value = self.expr(std::mem::take(&mut pair.value))?;
        }
        Ok(entry)
    }

    /// Takes what an expression refers to out of it: `row.x`, `row["x"]`, `row.?x`, `has(row.x)`,
    /// `before == null`.
    fn reference(&mut self, expr: &IdedExpr) -> Option<Expr> {
        match &expr.expr {
            Expr::Select(select) => {
                let image = self.image(&select.operand)?;
                let form = if select.test { Form::Has } else { Form::Value };
                Some(self.refer(image, &select.field, form))
            }
            Expr::Call(CallExpr { func_name, target: None, args }) => {
                let [left, right] = args.as_slice() else { return None };
                let form = match func_name.as_str() {
                    operators::INDEX => Form::Value,
                    operators::OPT_INDEX | operators::OPT_SELECT => Form::Optional,
                    operators::EQUALS | operators::NOT_EQUALS => {
                        return self.absence(left, right, func_name == operators::NOT_EQUALS);
                    }
                    _ => return None,
                };
                let Expr::Literal(LiteralValue::String(column)) = &right.expr else { return None };
                let image = self.image(left)?;
                Some(self.refer(image, column.inner(), form))
            }
            _ => None,
        }
    }

    fn absence(&mut self, left: &IdedExpr, right: &IdedExpr, negated: bool) -> Option<Expr> {
        let is_null = |expr: &IdedExpr| expr.expr == Expr::Literal(LiteralValue::Null);
        let (image, other) = match (self.image(left), self.image(right)) {
            (Some(image), None) => (image, right),
            (None, Some(image)) => (image, left),
            _ => return None,
        };
        // There always is a row.
        if !is_null(other) || image == Image::Row {
            return None;
        }
        let absent = self.refer(image, "", Form::Absent);
        Some(if negated { call(operators::LOGICAL_NOT, vec![absent]) } else { absent })
    }

    fn image(&self, expr: &IdedExpr) -> Option<Image> {
        let Expr::Ident(name) = &expr.expr else { return None };
        if self.bound.contains(name) {
            return None;
        }
        match name.as_str() {
            "row" => Some(Image::Row),
            "before" => Some(Image::Before),
            _ => None,
        }
    }

    fn refer(&mut self, image: Image, column: &str, form: Form) -> Expr {
        let reference = Reference { image, column: column.to_owned(), form };
        let known = self.references.iter().position(|known| *known == reference);
        let index = known.unwrap_or_else(|| {
            self.references.push(reference);
            self.references.len() - 1
        });
        Expr::Ident(format!("@{index}"))
    }

    fn call(&mut self, id: u64, mut call: CallExpr) -> Result<Expr, ExpressionError> {
        let name = call.func_name.as_str();
        let namespace = call.target.as_ref().and_then(|target| self.namespace(target));
        let before = match (&namespace, &call.target) {
            (Some(namespace), _) => Before::Namespace(namespace),
            (None, Some(_)) => Before::Value,
            (None, None) => Before::Nothing,
        };
        if let Some(problem) = functions::problem(name, before, call.args.len()) {
            return Err(self.problem(id, &problem));
        }
        if name == "matches" {
            return self.matches(id, call);
        }
        // What the parser makes of a macro adds lists of one, which the interpreter knows.
        let adds_list = name == operators::ADD
            && matches!(call.args.get(1), Some(right) if matches!(right.expr, Expr::List(_)));
        let own = ours::name_of(name, before).filter(|_| !adds_list);
        // A loop gathers what it makes: it counts.
        let gathers = matches!(call.args.first(), Some(IdedExpr { expr: Expr::Ident(name), .. })
            if adds_list && name.starts_with('@'));
        if let Some(target) = call.target.take() {
            let target = if namespace.is_some() { *target } else { self.expr(*target)? };
            call.target = Some(Box::new(target));
        }
        call.args = self.exprs(call.args)?;
        if let (true, Some(IdedExpr { expr: Expr::List(list), .. })) =
            (gathers, call.args.get_mut(1))
        {
            for element in &mut list.elements {
                let made = std::mem::take(element);
                *element =
                    IdedExpr { id: made.id, expr: self::call(bounded::KEPT, vec![made.expr]) };
            }
        }
        if let Some(own) = own {
            // A method of ours is a function of its value.
            call.args.splice(..0, call.target.take().map(|target| *target));
            call.func_name = own.to_owned();
        }
        Ok(Expr::Call(call))
    }

    fn namespace(&self, target: &IdedExpr) -> Option<String> {
        let Expr::Ident(name) = &target.expr else { return None };
        let is_one = NAMESPACES.contains(&name.as_str()) && !self.bound.contains(name);
        is_one.then(|| name.clone())
    }

    /// A pattern is compiled here, once.
    fn matches(&mut self, id: u64, call: CallExpr) -> Result<Expr, ExpressionError> {
        let mut args: Vec<IdedExpr> =
            call.target.map(|target| *target).into_iter().chain(call.args).collect();
        let (Some(pattern), Some(subject), true) = (args.pop(), args.pop(), args.is_empty()) else {
            return Err(self.problem(id, "needs a text and a pattern for \"matches\""));
        };
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.problem(pattern.id, "has a pattern that is no literal; write it out"));
        };
        let compiled = budget::pattern(text.inner()).map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.problem(pattern.id, &format!("has a pattern that can't be used: {why}"))
        })?;
        self.patterns.push(compiled);
        let pattern = Expr::Ident(format!("@p{}", self.patterns.len() - 1));
        let subject = self.expr(subject)?;
        let args = vec![subject, IdedExpr { id, expr: pattern }];
        Ok(Expr::Call(CallExpr { func_name: ours::MATCHES.to_owned(), target: None, args }))
    }

    fn comprehension(&mut self, mut it: ComprehensionExpr) -> Result<Expr, ExpressionError> {
        let range = self.expr(it.iter_range)?;
        it.iter_range = IdedExpr { id: range.id, expr: call(ours::ORDERED, vec![range.expr]) };
        it.accu_init = self.expr(it.accu_init)?;
        let outer = self.bound.len();
        self.bound.extend([it.iter_var.clone(), it.accu_var.clone()]);
        self.bound.extend(it.iter_var2.clone());
        it.loop_cond = self.expr(it.loop_cond)?;
        it.loop_step = self.expr(it.loop_step)?;
        it.result = self.expr(it.result)?;
        self.bound.truncate(outer);
        Ok(Expr::Comprehension(Box::new(it)))
    }

    fn name(&self, id: u64, name: &str) -> Result<(), ExpressionError> {
        if self.bound.iter().any(|bound| bound == name) || name.starts_with('@') {
            return Ok(());
        }
        match name {
            "op" | "table" => Ok(()),
            "row" | "before" => Err(self
                .problem(id, &format!("has \"{name}\" by itself; name a column of it: {name}.id"))),
            _ if TYPES.contains(&name) => Ok(()),
            _ => {
                // A slip of one letter; names of columns are forgotten to be ones of the row.
                let slip = |known: &&&str| strsim::osa_distance(name, known) == 1;
                let cure = match VARIABLES.iter().find(slip) {
                    Some(meant) => format!("; did you mean \"{meant}\"?"),
                    None => format!("; did you mean row.{name}?"),
                };
                Err(self.problem(id, &format!("names \"{name}\", which there is not{cure}")))
            }
        }
    }

    fn problem(&self, id: u64, message: &str) -> ExpressionError {
        // In bytes, as the parser counts.
        let offset = self.info.offset_for(id).and_then(|(start, _)| usize::try_from(start).ok());
        ExpressionError { offset, message: message.to_owned() }
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|expr| IdedExpr { id: 0, expr }).collect();
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}
