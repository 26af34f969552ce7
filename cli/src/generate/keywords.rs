//! Words that are no names, by language: for the filter `keyword` of templates.

/// The languages that there is a list for.
pub(super) const LANGUAGES: [&str; 14] = [
    "c",
    "cpp",
    "csharp",
    "dart",
    "gdscript",
    "go",
    "java",
    "javascript",
    "kotlin",
    "lua",
    "python",
    "rust",
    "swift",
    "typescript",
];

/// The words of a language, separated by blanks; of the newest version, also where they are words only in places. Of
/// JavaScript's for TypeScript only those that it has itself, behind JavaScript's.
fn words(language: &str) -> Option<&'static str> {
    Some(match language {
        "c" => {
            "auto break case char const continue default do double else enum extern float for goto if inline int long \
             register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while \
             bool true false nullptr alignas alignof constexpr static_assert thread_local typeof"
        }
        "cpp" => {
            "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class \
             co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype \
             default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline \
             int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register \
             reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template \
             this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t \
             while xor xor_eq"
        }
        "csharp" => {
            "abstract as base bool break byte case catch char checked class const continue decimal default delegate do \
             double else enum event explicit extern false finally fixed float for foreach goto if implicit in int \
             interface internal is lock long namespace new null object operator out override params private protected \
             public readonly ref return sbyte sealed short sizeof stackalloc static string struct switch this throw true \
             try typeof uint ulong unchecked unsafe ushort using virtual void volatile while \
             add alias allows and ascending args async await by descending dynamic equals extension field file from get \
             global group init into join let managed nameof nint not notnull nuint on or orderby partial record remove \
             required scoped select set unmanaged value var when where with yield"
        }
        "dart" => {
            "assert async await break case catch class const continue default do else enum extends false final finally for \
             if in is new null rethrow return super switch this throw true try var void while with yield"
        }
        "gdscript" => {
            "and as assert await bool break breakpoint class class_name const continue elif else enum extends false float \
             for func if in int is match not null or pass preload return self signal static super trait true var void \
             when while yield PI TAU INF NAN"
        }
        "go" => {
            "break case chan const continue default defer else fallthrough for func go goto if import interface map \
             package range return select struct switch type var true false nil iota"
        }
        "java" => {
            "abstract assert boolean break byte case catch char class const continue default do double else enum extends \
             false final finally float for goto if implements import instanceof int interface long native new null package \
             private protected public return short static strictfp super switch synchronized this throw throws transient \
             true try void volatile while _"
        }
        "javascript" => {
            "arguments async await break case catch class const continue debugger default delete do else enum eval export \
             extends false finally for function if implements import in instanceof interface let new null package private \
             protected public return static super switch this throw true try typeof undefined var void while with yield"
        }
        "kotlin" => {
            "as break class continue do else false for fun if in interface is null object package return super this throw \
             true try typealias typeof val var when while"
        }
        "lua" => {
            "and break do else elseif end false for function goto if in local nil not or repeat return then true until \
             while"
        }
        "python" => {
            "False None True and as assert async await break class continue def del elif else except finally for from \
             global if import in is lambda nonlocal not or pass raise return try while with yield _ case match type"
        }
        "rust" => {
            "Self abstract as async await become box break const continue crate do dyn else enum extern false final fn for \
             gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait \
             true try type typeof unsafe unsized use virtual where while yield"
        }
        "swift" => {
            "Any Protocol Self Type as associatedtype break case catch class continue default defer deinit do else enum \
             extension fallthrough false fileprivate for func guard if import in init inout internal is let nil open \
             operator precedencegroup private protocol public repeat rethrows return self static struct subscript super \
             switch throw throws true try typealias var where while"
        }
        "typescript" => {
            "abstract accessor any as assert asserts bigint boolean constructor declare defer from get global infer \
             intrinsic is keyof module namespace never number object of out override readonly require satisfies set string \
             symbol type unique unknown using"
        }
        _ => return None,
    })
}

/// The words of a language, if it has a list. TypeScript has JavaScript's, and more.
pub(super) fn of(language: &str) -> Option<Vec<&'static str>> {
    let base = if language == "typescript" { words("javascript") } else { None };
    let own = words(language)?;
    Some(base.unwrap_or_default().split_whitespace().chain(own.split_whitespace()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_its_list() {
        for language in LANGUAGES {
            let words = of(language).expect("a list");
            assert!(words.contains(&"for") && words.contains(&"if"), "{language}");
        }
        let of_both = |word| ["javascript", "typescript"].map(|l| of(l).is_some_and(|w| w.contains(&word)));
        assert_eq!(of_both("let"), [true, true]);
        assert_eq!(of_both("any"), [false, true]);
        assert_eq!(of("klingon"), None);
    }
}
