"""Files that both programs ship: icons, the demo policy with its episodes, sample results."""
