//! How the closed choices of the configuration are written.

use postern_policy::words::Word;

use super::model::{Durability, LogFormat, LogLevel, OnFailure, RingFeatures};
use super::read::TlsMode;

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal,)+ }) => {
        impl Word for $type {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words!(TlsMode { Require = "require", Allow = "allow", Off = "off", });
words!(RingFeatures { All = "all", Floor = "floor", });
words!(OnFailure { Deny = "deny", Drop = "drop", });
words!(Durability { Written = "written", Synced = "synced", });
words!(LogFormat { Text = "text", Json = "json", });
words!(LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace", });
