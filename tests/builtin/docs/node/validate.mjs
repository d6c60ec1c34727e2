// Reads an AsyncAPI document from standard input and prints what the official parser says of it.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const operations = document?.allOperations().all().map((one) => [one.id(), one.action()]);
console.log(JSON.stringify({ operations, diagnostics }));
