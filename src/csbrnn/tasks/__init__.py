"""Data sets, networks, training and measures: what studies, the demo and searches train on.

`task` says what a task is and `registry` which there are; `training` is the loop they share,
`settings` how files change their settings. `fine_tuning` is what networks have in common that go
on from one dense network, and `protocol` trains some of a task, dense and pruned, to compare them.
`char_lm` and `word_lm` read text (`text`); `connected_digits` and `isolated_words` recordings
(`recordings`, features by `log_mel`), `labelled_arrays` .npy files, all three with the network of
`frame_classifier`. Nothing is imported here: `text` is for those, too, who have no torch.
"""
