import tseslint from "typescript-eslint";

export default tseslint.config(
  // What is printed is the printer's to keep right.
  { ignores: ["dist/", "gen/", "src/gen/", "test/gen/"] },
  ...tseslint.configs.strictTypeChecked,
  {
    files: ["**/*.ts"],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // Numbers in texts are what they look like.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // A name for what is not used says what it is.
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      // `return this.#onPing(...)` ends a case, and says so.
      "@typescript-eslint/no-confusing-void-expression": "off",
      // Numbers of newer peers, which a table has no name for, pass through.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
      // The empty text and 0 mean "none" in the protocol.
      "@typescript-eslint/prefer-nullish-coalescing": "off",
      // Schemas of messages are told apart by their names.
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
    },
  },
  { files: ["**/*.js"], extends: [tseslint.configs.disableTypeChecked] },
);
