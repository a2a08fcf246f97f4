//! Tables, as an operator makes them with `deploy/cloudformation.yaml`, and as nobody should.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};

pub const TABLE: &str = "keyward";

/// Names of a table's keys and of its index. The default is what is needed.
pub struct Layout {
    pub partition: &'static str,
    pub sort: &'static str,
    pub sort_type: ScalarAttributeType,
    pub index: &'static str,
    pub index_sort: &'static str,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { partition: "pk", sort: "sk", sort_type: ScalarAttributeType::S, index: "due", index_sort: "due" }
    }
}

pub async fn make(client: &Client, name: &str, layout: Layout) {
    let attribute = |name: &str, kind: &ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind.clone()).build().expect("whole")
    };
    let text = ScalarAttributeType::S;
    let index = GlobalSecondaryIndex::builder()
        .index_name(layout.index)
        .set_key_schema(Some(keys("due_shelf", layout.index_sort)))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(keys(layout.partition, layout.sort)))
        .attribute_definitions(attribute(layout.partition, &text))
        .attribute_definitions(attribute(layout.sort, &layout.sort_type))
        .attribute_definitions(attribute("due_shelf", &text))
        .attribute_definitions(attribute(layout.index_sort, &text))
        .global_secondary_indexes(index.build().expect("whole"))
        .send()
        .await
        .expect("a table");
}

fn keys(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    vec![key(partition, KeyType::Hash).expect("whole"), key(sort, KeyType::Range).expect("whole")]
}
