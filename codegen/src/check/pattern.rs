//! Regular expressions: `buf.validate` means RE2's syntax, we run them in the crate `regex`. The two are nearly the
//! same; what they read differently is translated or refused.

use std::convert::Infallible;

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{self, Ast};

/// Largest compiled regular expression, bytes; a test holds it to the limit at run time.
pub const MAX_PATTERN_BYTES: usize = 256 * 1024;

/// The same expression for the crate `regex`.
///
/// # Errors
/// What is wrong with it, and the fix.
pub(crate) fn translate(pattern: &str) -> Result<String, (String, String)> {
    let ast = Parser::new().parse(pattern).map_err(|error| wrong(pattern, error.kind().to_string()))?;
    let translation = Translation::default();
    let translation = ast::visit(&ast, translation).unwrap_or_else(|never| match never {});
    if let Some(what) = translation.differs {
        return Err((
            format!("{} has {what}, which the libraries of other languages read differently", shown(pattern)),
            "write it in another way; in a class, put `\\` before `[`, `&`, `-` and `~`".to_string(),
        ));
    }
    let mut translated = pattern.to_string();
    for (span, with) in translation.edits.into_iter().rev() {
        translated.replace_range(span.start.offset..span.end.offset, with);
    }
    Ok(translated)
}

/// Whether a translated expression stays within the limit. That costs more than its length: not for strangers' ones.
///
/// # Errors
/// What is wrong with it, and the fix.
pub(crate) fn compile(translated: &str) -> Result<(), (String, String)> {
    let built = regex::RegexBuilder::new(translated).size_limit(MAX_PATTERN_BYTES).build();
    built.map(drop).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => (
            format!("{} is larger than {limit} bytes when it is compiled", shown(translated)),
            "write smaller repetitions or classes".to_string(),
        ),
        error => {
            let text = error.to_string();
            wrong(translated, text.lines().last().unwrap_or_default().trim().to_string())
        }
    })
}

fn wrong(pattern: &str, why: String) -> (String, String) {
    let what = format!("{} is no regular expression: {why}", shown(pattern));
    (what, "write one in RE2's syntax, https://github.com/google/re2/wiki/Syntax".to_string())
}

/// It may be a stranger's.
fn shown(pattern: &str) -> String {
    const MAX_CHARS: usize = 100;
    let end = if pattern.chars().nth(MAX_CHARS).is_some() { "..." } else { "" };
    format!("\"{}{end}\"", pattern.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect::<String>())
}

#[derive(Default)]
struct Translation {
    /// In the order of the text.
    edits: Vec<(ast::Span, &'static str)>,
    differs: Option<&'static str>,
}

impl Translation {
    /// RE2's are ASCII, and its `\s` has no vertical tab.
    fn perl(&mut self, class: &ast::ClassPerl) {
        use ast::ClassPerlKind::{Digit, Space, Word};
        let with = match (&class.kind, class.negated) {
            (Digit, false) => "[0-9]",
            (Digit, true) => "[^0-9]",
            (Space, false) => r"[\t\n\f\r ]",
            (Space, true) => r"[^\t\n\f\r ]",
            (Word, false) => "[0-9A-Za-z_]",
            (Word, true) => "[^0-9A-Za-z_]",
        };
        self.edits.push((class.span, with));
    }

    fn flags(&mut self, flags: &ast::Flags) {
        let other = |item: &ast::FlagsItem| match item.kind {
            ast::FlagsItemKind::Negation => false,
            ast::FlagsItemKind::Flag(flag) => {
                matches!(flag, ast::Flag::Unicode | ast::Flag::CRLF | ast::Flag::IgnoreWhitespace)
            }
        };
        if flags.items.iter().any(other) {
            self.differs = Some("a flag other than i, m, s and U");
        }
    }

    /// RE2 has categories by their letters and scripts by their names, and no other properties.
    fn unicode(&mut self, class: &ast::ClassUnicode) {
        let known = match &class.kind {
            ast::ClassUnicodeKind::OneLetter(_) => true,
            ast::ClassUnicodeKind::Named(name) if name.len() == 2 => true,
            ast::ClassUnicodeKind::Named(name) => {
                let plain = name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
                plain && regex_syntax::parse(&format!(r"\p{{sc={name}}}")).is_ok()
            }
            ast::ClassUnicodeKind::NamedValue { .. } => false,
        };
        if !known {
            self.differs = Some("a class that is no category or script");
        }
    }

    fn literal(&mut self, literal: &ast::Literal) {
        if let ast::LiteralKind::HexBrace(kind) | ast::LiteralKind::HexFixed(kind) = &literal.kind
            && *kind != ast::HexLiteralKind::X
        {
            self.differs = Some("`\\u`");
        }
    }
}

impl ast::Visitor for Translation {
    type Output = Self;
    type Err = Infallible;

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.flags(flags);
                }
            }
            Ast::ClassPerl(class) => self.perl(class),
            Ast::ClassUnicode(class) => self.unicode(class),
            Ast::Literal(literal) => self.literal(literal),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundary => self.edits.push((assertion.span, r"(?-u:\b)")),
                ast::AssertionKind::NotWordBoundary => self.differs = Some("`\\B`"),
                ast::AssertionKind::StartLine
                | ast::AssertionKind::EndLine
                | ast::AssertionKind::StartText
                | ast::AssertionKind::EndText => {}
                _ => self.differs = Some("a boundary other than `\\b`"),
            },
            Ast::Repetition(repetition) => {
                let most = match &repetition.op.kind {
                    ast::RepetitionKind::Range(ast::RepetitionRange::Exactly(n))
                    | ast::RepetitionKind::Range(ast::RepetitionRange::AtLeast(n))
                    | ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(_, n)) => *n,
                    _ => 0,
                };
                if most > 1000 {
                    self.differs = Some("a repetition of more than 1000");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Infallible> {
        match item {
            ast::ClassSetItem::Perl(class) => self.perl(class),
            ast::ClassSetItem::Unicode(class) => self.unicode(class),
            ast::ClassSetItem::Literal(literal) => self.literal(literal),
            ast::ClassSetItem::Range(range) => {
                self.literal(&range.start);
                self.literal(&range.end);
            }
            ast::ClassSetItem::Bracketed(_) => self.differs = Some("a class in a class"),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Infallible> {
        self.differs = Some("`&&`, `--` or `~~` in a class");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii_as_in_re2() {
        assert_eq!(
            translate(r"^\d+[\w-]\S\b$"),
            Ok(r"^[0-9]+[[0-9A-Za-z_]-][^\t\n\f\r ](?-u:\b)$".to_string())
        );
    }

    #[test]
    fn categories_and_scripts_are_those_of_re2() {
        for pattern in [r"\pL", r"[\p{Lu}\P{Han}]", r"\p{Old_Italic}+", r"^[[:alpha:]]\x41\x{1F600}$"] {
            assert_eq!(translate(pattern).as_deref(), Ok(pattern));
        }
    }

    #[test]
    fn what_is_read_differently_is_refused() {
        for (pattern, what) in [
            (r"[a[b]]", "a class in a class"),
            (r"[a-z&&b]", "`&&`"),
            (r"(?x) a", "a flag"),
            (r"a{1001}", "a repetition"),
            (r"\Ba", "`\\B`"),
            (r"\u0041", "`\\u`"),
            (r"\p{Alphabetic}", "no category or script"),
            (r"[\p{sc=Greek}]", "no category or script"),
            (r"(a", "no regular expression"),
            (r"a(?=b)", "no regular expression"),
            (r"(\pL{1000}){1000}", "larger than"),
        ] {
            let (found, _) = translate(pattern).and_then(|t| compile(&t)).expect_err(pattern);
            assert!(found.contains(what), "{pattern}: {found}");
        }
    }
}
