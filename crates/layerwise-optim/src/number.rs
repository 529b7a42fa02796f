//! Numbers where a choice is spelled out otherwise, in what is deserialized.

/// Reads `$type` from a plain number too, by `From<f64>`, where the format describes itself: files that
/// people write say `0.1`, not `{ Constant = 0.1 }`. The type derives `Serialize` and `Deserialize` with
/// `#[serde(remote = "Self")]`; what is written stays spelled out.
macro_rules! number_or_spelled_out {
    ($type:ident, $expecting:literal) => {
        const _: () = {
            use serde::de::value::{MapAccessDeserializer, StrDeserializer};
            use serde::de::{Error, MapAccess, Visitor};

            impl serde::Serialize for $type {
                fn serialize<S: serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> std::result::Result<S::Ok, S::Error> {
                    $type::serialize(self, serializer)
                }
            }

            impl<'de> serde::Deserialize<'de> for $type {
                fn deserialize<D: serde::Deserializer<'de>>(
                    source: D,
                ) -> std::result::Result<Self, D::Error> {
                    if source.is_human_readable() {
                        source.deserialize_any(NumberOrSpelledOut)
                    } else {
                        $type::deserialize(source)
                    }
                }
            }

            struct NumberOrSpelledOut;

            impl<'de> Visitor<'de> for NumberOrSpelledOut {
                type Value = $type;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str($expecting)
                }

                fn visit_f64<E: Error>(self, value: f64) -> std::result::Result<$type, E> {
                    Ok(value.into())
                }

                fn visit_i64<E: Error>(self, value: i64) -> std::result::Result<$type, E> {
                    Ok((value as f64).into())
                }

                fn visit_u64<E: Error>(self, value: u64) -> std::result::Result<$type, E> {
                    Ok((value as f64).into())
                }

                fn visit_str<E: Error>(self, name: &str) -> std::result::Result<$type, E> {
                    $type::deserialize(StrDeserializer::new(name))
                }

                fn visit_map<A: MapAccess<'de>>(
                    self,
                    map: A,
                ) -> std::result::Result<$type, A::Error> {
                    $type::deserialize(MapAccessDeserializer::new(map))
                }
            }
        };
    };
}

pub(crate) use number_or_spelled_out;
