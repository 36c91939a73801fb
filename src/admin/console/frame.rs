//! What stands around every page (pure).

use maud::{DOCTYPE, Markup, html};

/// Pages with their addresses, and the key that leads to each behind `g`.
const PAGES: &[(&str, &str, char)] = &[
    ("Overview", "/", 'o'),
    ("Source", "/source", 's'),
    ("Dead letters", "/dead-letters", 'd'),
    ("Trace", "/trace", 't'),
    ("Live", "/live", 'l'),
    ("Playground", "/playground", 'p'),
    ("Backfills", "/backfills", 'b'),
    ("Incidents", "/incidents", 'i'),
    ("Config", "/config", 'c'),
];

/// Puts a page together; `here` is the address that the menu shows as the present one.
pub(super) fn page(title: &str, here: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · walgate" }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
            }
            body {
                a.skip href="#main" { "To the content" }
                header.bar {
                    a.brand href="/" { span.mark aria-hidden="true" {} "walgate" }
                    nav aria-label="Pages" {
                        @for (name, address, key) in PAGES {
                            a href=(address) data-key=(key)
                                aria-current=[(*address == here).then_some("page")] { (name) }
                        }
                    }
                    span.tools {
                        span.pulse #pulse title="Whether this page renews itself" { "as of now" }
                        button.quiet #theme type="button" title="Light or dark" hidden { "◐" }
                        button.quiet #keys type="button" title="Keys (?)" hidden { "?" }
                    }
                }
                main #main tabindex="-1" { (body) }
                (dialogs())
            }
        }
    }
}

/// What the script opens.
fn dialogs() -> Markup {
    html! {
        dialog #ask aria-labelledby="ask-title" {
            form method="dialog" {
                h2 #ask-title { "Sure?" }
                p #ask-text {}
                label #ask-reason-label hidden {
                    "Why" input #ask-reason type="text" autocomplete="off";
                }
                p.twin { "The same by command:" code #ask-twin {} }
                menu {
                    button.quiet value="no" formnovalidate { "Leave it" }
                    button.go value="yes" { "Do it" }
                }
            }
        }
        dialog #help aria-labelledby="help-title" {
            form method="dialog" {
                h2 #help-title { "Keys" }
                dl.keys {
                    @for (name, _, key) in PAGES {
                        dt { kbd { "g" } " " kbd { (key) } }
                        dd { (name) }
                    }
                    dt { kbd { "/" } } dd { "To the first field" }
                    dt { kbd { "j" } " " kbd { "k" } } dd { "Down and up a table" }
                    dt { kbd { "Enter" } } dd { "Open the row" }
                    dt { kbd { "r" } } dd { "Renew now" }
                    dt { kbd { "?" } } dd { "This" }
                }
                menu { button.go value="close" { "Close" } }
            }
        }
        p #toast role="status" aria-live="polite" {}
    }
}
