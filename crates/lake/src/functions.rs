//! Functions of SQL beside those of the query library.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field};
use arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::SessionContext;

/// Makes them known to a session.
pub(crate) fn register(session: &SessionContext) {
    session.register_udf(to_json());
}

/// `to_json(value)`: the value as JSON text. Fields of structs that are null are left out; null gives null.
pub fn to_json() -> ScalarUDF {
    ScalarUDF::new_from_impl(ToJson { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    signature: Signature,
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &'static str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = ColumnarValue::values_to_arrays(&args.args)?;
        let value = values.first().ok_or_else(|| DataFusionError::Internal("`to_json` takes one value".into()))?;
        Ok(ColumnarValue::Array(Arc::new(encode(value)?.finish())))
    }
}

fn encode(values: &ArrayRef) -> Result<StringBuilder> {
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(&field, values, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = vec![];
    for row in 0..values.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[tokio::test]
    async fn values_are_written_as_json_without_nulls() {
        let session = SessionContext::new();
        register(&session);
        let sql = "SELECT to_json(named_struct('a', 1, 'b', CAST(NULL AS INT), 'c', 'x\"y', 'd', DATE '2026-01-02', 'e', make_array(1, 2))) AS j, \
                   to_json(CAST(NULL AS INT)) AS n, to_json(true) AS t";
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        let text = |at: usize| batches[0].column(at).as_string::<i32>();
        assert_eq!(text(0).value(0), r#"{"a":1,"c":"x\"y","d":"2026-01-02","e":[1,2]}"#);
        assert!(text(1).is_null(0));
        assert_eq!(text(2).value(0), "true");
    }
}
