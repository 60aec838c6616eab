// Numbers of modules that depend on the folder of the sources would make each build differ from the next.
module.exports = { optimization: { moduleIds: 'natural' } };
